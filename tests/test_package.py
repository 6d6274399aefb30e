import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycodec

MODULES = [module.name for module in pkgutil.walk_packages(tinycodec.__path__, "tinycodec.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("name", tinycodec.__all__)
def test_everything_public_is_documented(name):
    assert getattr(tinycodec, name).__doc__


def test_the_code_in_the_readme_runs(mnist, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tinycodec, "load_mnist", lambda: (mnist[0][:256], mnist[1][:10]))
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    exec("".join(re.findall("```python\n(.*?)```", text, re.DOTALL)), {})
    assert (tmp_path / "model.npz").exists()


def test_importing_the_package_does_not_import_matplotlib():
    script = "import sys, tinycodec; tinycodec.Codec, tinycodec.train; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_command_line_can_choose_numpys_threads_before_numpy_is_imported():
    script = "import sys, tinycodec; sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
