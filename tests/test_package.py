import ast
import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import numpy as np
import pytest

import tinycodec
from tinycodec.experiments.figures import Picture

FOLDER = Path(tinycodec.__file__).parent
MODULES = [module.name for module in pkgutil.walk_packages(tinycodec.__path__, "tinycodec.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(name), extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("name", tinycodec.__all__)
def test_everything_public_is_documented(name):
    assert getattr(tinycodec, name).__doc__


def test_the_code_in_the_readme_runs(mnist, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tinycodec, "load_mnist", lambda: (mnist[0][:16], mnist[1][:10]))
    monkeypatch.setattr(Picture, "_repr_png_", lambda picture: b"\x89PNG")       # test_figures.py draws them
    text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    exec("".join(re.findall("```python\n(.*?)```", text, re.DOTALL)), {})
    assert (tmp_path / "model.npz").exists()


def test_importing_the_package_does_not_import_matplotlib():
    script = "import sys, tinycodec; tinycodec.Codec, tinycodec.train; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


# --- the layout: imports run from the tool to the lesson ---

LESSON = {"model", "layers", "entropy", "training", "coding", "codec", "gradcheck"}


def imported(path, everywhere):
    """Modules of the package that a file imports, by their full names: at its top, or everywhere in it."""
    package = ("tinycodec", *path.relative_to(FOLDER).parent.parts)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) + 1 - node.level] if node.level else ()
            name = ".".join((*base, *([node.module] if node.module else [])))
            yield from (f"{name}.{alias.name}" if f"{name}.{alias.name}" in MODULES else name for alias in node.names)


def test_what_a_student_reads_stands_at_the_top_and_nothing_else():
    assert {path.stem for path in FOLDER.glob("*.py")} == LESSON | {"__init__", "__main__"}


@pytest.mark.parametrize("name", sorted(LESSON))
def test_the_lesson_imports_the_lesson_and_three_packages(name):
    for module in imported(FOLDER / f"{name}.py", everywhere=True):
        top, _, rest = module.partition(".")
        assert (rest in LESSON) if top == "tinycodec" else (top in {"numpy", "scipy", "constriction"} | sys.stdlib_module_names)


def test_imports_at_the_top_have_no_cycles():
    def names(path):
        return ".".join(("tinycodec", *path.relative_to(FOLDER).with_suffix("").parts)).removesuffix(".__init__")
    graph = {names(path): set(imported(path, everywhere=False)) - {"tinycodec", names(path)} for path in FOLDER.rglob("*.py")}
    graph["tinycodec"] = set()                             # imports all, and whoever imports it, imports it at last
    assert list(TopologicalSorter(graph).static_order())


def test_the_public_names_are_all_there_are():
    assert set(tinycodec.__all__) <= set(dir(tinycodec))
