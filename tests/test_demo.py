import argparse
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinycodec as tc
from tinycodec.experiments.figures import Picture

DEMO = Path(__file__).parent.parent / "demo.py"


@pytest.fixture
def demo(monkeypatch, mnist):
    """The module, with few images."""
    monkeypatch.syspath_prepend(str(DEMO.parent))
    import demo
    monkeypatch.setattr(tc, "load_mnist", lambda folder=None: (mnist[0][:32], mnist[1][:32]))
    return demo


def run(demo, monkeypatch, out, *options):
    monkeypatch.setattr(sys, "argv", ["demo.py", "--epochs", "1", "--latent-dims", "5", "--out", str(out), *options])
    demo.main()


def test_the_demo_shows_one_digit_and_draws_pictures(demo, monkeypatch, tmp_path, capsys):
    Image.new("L", (1, 1)).save(png := io.BytesIO(), "png")
    monkeypatch.setattr(Picture, "_repr_png_", lambda picture: png.getvalue())      # test_figures.py draws them
    run(demo, monkeypatch, tmp_path, "--animation")
    codec = tc.Codec.load(tmp_path / "model.npz")
    string, = codec.compress_each(tc.load_mnist()[1][:1])
    assert string.hex(" ") in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {
        "model.npz", "test_images.tnyc", "decoded.npy", "before.png", "after.png", "one_digit.png", "latents.png",
        "training.png", "samples.png", "basis.png", "learning.gif"}


def test_the_child_finds_packages_where_the_user_has_them(demo, monkeypatch, tmp_path):
    def child(command, env, **options):
        assert env["PYTHONPATH"].split(os.pathsep) == [str(DEMO.parent), "/of/the/user", "/and/another"]
        raise OSError("seen")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["/of/the/user", "/and/another"]))
    monkeypatch.setattr(subprocess, "run", child)
    with pytest.raises(SystemExit):
        run(demo, monkeypatch, tmp_path)


def test_a_backend_that_is_not_installed_does_not_matter(tmp_path):
    done = subprocess.run([sys.executable, DEMO, "--help"], capture_output=True, text=True, env={**os.environ, "MPLBACKEND": "none"})
    assert (done.returncode, done.stderr) == (0, "")


def test_the_animation_shows_the_training_of_train(demo, mnist):
    images = mnist[0][:20]
    args = argparse.Namespace(latent_dims=5, seed=3, epochs=12, lmbda=500)
    steps, codecs = zip(*demo.watch(images, args))
    trained = tc.Codec(5, seed=3)
    tc.train(trained, images, 500, epochs=12, seed=3, progress=False)
    assert steps == (0, 10)
    for name, p in trained.params.items():
        np.testing.assert_array_equal(codecs[-1].params[name], p)      # there are 12 steps, and it is changed in place
