import errno
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import suppress

import numpy as np
import pytest

import tinycodec as tc
from tests import Deeper, Stop, stopped_after
from tinycodec.files.checkpoint import Checkpoint
from tinycodec.mnist import FILES, encode_idx

BATCH = 16
SETTINGS = {"lmbda": 1000, "seed": 3, "batch": BATCH, "threads": 1, "progress": False}


def train(images, path, epochs=2, stop_after=None, kind=tc.Codec):
    """Train, with an interruption after `stop_after` epochs -> (codec, history)."""
    codec, history = kind(2, SETTINGS["seed"]), None
    with suppress(Stop), stopped_after(stop_after and stop_after * -(-len(images) // BATCH)):
        history = tc.train(codec, images, epochs=epochs, checkpoint=path, **SETTINGS)
    return codec, history


def assert_same_params(a, b):
    for name, p in a.params.items():
        np.testing.assert_array_equal(p, b.params[name])


@pytest.fixture(scope="module")
def images(mnist):
    return mnist[0][:20]                                   # two steps an epoch


@pytest.fixture(scope="module")
def uninterrupted(images):
    """(codec, history) of three epochs without a checkpoint."""
    codec = tc.Codec(2, SETTINGS["seed"])
    return codec, tc.train(codec, images, epochs=3, **SETTINGS)


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """(codec, history, checkpoint) of two epochs; tests must not change them."""
    path = tmp_path_factory.mktemp("finished") / "checkpoint"
    return *train(images, path), path


@pytest.mark.parametrize("stop_after", [1, 2])
def test_a_resumed_training_gives_the_bits_of_an_uninterrupted_one(stop_after, images, uninterrupted, tmp_path):
    train(images, tmp_path / "checkpoint", epochs=3, stop_after=stop_after)
    codec, history = train(images, tmp_path / "checkpoint", epochs=3)
    expected, expected_history = uninterrupted
    assert_same_params(codec, expected)
    for name, values in expected_history.items():
        np.testing.assert_array_equal(history[name], values)


def test_a_checkpoint_of_a_finished_training_is_its_result(images, finished, monkeypatch):
    codec, history, path = finished
    monkeypatch.setattr("tinycodec.machine.session.loss_and_gradients", None)
    again, history_again = train(images, path)
    assert_same_params(codec, again)
    np.testing.assert_array_equal(history["loss"], history_again["loss"])


def test_layers_of_ones_own_are_resumed_too(images, tmp_path):
    train(images, tmp_path / "checkpoint", stop_after=1, kind=Deeper)
    resumed, _ = train(images, tmp_path / "checkpoint", kind=Deeper)
    expected, _ = train(images, None, kind=Deeper)
    assert_same_params(resumed, expected)


def test_a_checkpoint_is_a_model(finished):
    codec, _, path = finished
    assert_same_params(codec, tc.Codec.load(path))


def test_the_checkpoint_of_another_training_is_refused_and_kept(mnist, images, finished):
    path = finished[-1]
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"not the checkpoint of this training; .* delete it \(its epochs: 2, here: 5\)"):
        train(images, path, epochs=5)
    with pytest.raises(ValueError, match="its images: 20, CRC-32 .*, here: 21, CRC-32 "):
        train(mnist[0][:21], path)
    with pytest.raises(ValueError, match="its initial weights: "):
        tc.train(tc.Codec(2, seed=4), images, epochs=2, checkpoint=path, **SETTINGS)
    assert path.read_bytes() == before


def test_a_history_that_is_none_is_an_error(images, finished, tmp_path):
    path = tmp_path / "checkpoint"
    with np.load(finished[-1]) as archive:
        arrays = {name: archive[name] for name in ("training", "history")}       # what is read first
    h = arrays["history"]
    assert len(h) == 4
    for change in (h.ravel(), h[:, :2], h.astype(int), h * np.nan, np.zeros((10**4, 3)), h[:1], h[:3], np.zeros((6, 3))):
        np.savez(path.open("wb"), **arrays | {"history": change})
        with pytest.raises(ValueError, match="checkpoint: not the checkpoint of this training.*expected .*history"):
            train(images, path)


def test_a_second_training_on_the_same_checkpoint_says_so_and_the_first_goes_on(images, tmp_path, monkeypatch):
    first, original = [], Checkpoint.restore

    def restore(self, *args):
        history = original(self, *args)
        if not first:                                      # the second has begun: now the first trains, from beginning to end
            first.append(None)
            first[0] = train(images, tmp_path / "checkpoint", epochs=1)[0]
        return history

    monkeypatch.setattr(Checkpoint, "restore", restore)
    with pytest.raises(ValueError, match="checkpoint: another training writes this checkpoint; it goes on, this one ends"):
        tc.train(tc.Codec(2, SETTINGS["seed"]), images, epochs=1, checkpoint=tmp_path / "checkpoint", **SETTINGS)
    assert_same_params(first[0], tc.Codec.load(tmp_path / "checkpoint"))


def test_a_file_system_that_refuses_all_that_is_not_needed_ends_no_training(images, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(errno.EPERM, "Operation not permitted")

    for call in ("chmod", "fsync", "replace"):             # as on CIFS, NFS, or in a container
        monkeypatch.setattr(os, call, refuse)
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    with pytest.warns(UserWarning, match="checkpoint: written in place"):
        train(images, tmp_path / "checkpoint", stop_after=1)
        codec, _ = train(images, tmp_path / "checkpoint")
    assert_same_params(codec, tc.Codec.load(tmp_path / "checkpoint"))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_a_checkpoint_that_was_copied_is_still_this_trainings(images, tmp_path, monkeypatch):
    def save(self, history):
        original(self, history)
        data = self.path.read_bytes()                      # another inode, another time: some file systems give these anew
        self.path.unlink()
        self.path.write_bytes(data)
        os.utime(self.path, (0, 0))

    original = Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", save)
    tc.train(tc.Codec(2), images, epochs=1, checkpoint=tmp_path / "checkpoint", **SETTINGS)


def test_files_of_a_machine_with_the_other_byte_order_are_read(images, finished, tmp_path):
    path = tmp_path / "checkpoint"
    train(images, path, stop_after=1)
    arrays = {name: a.astype(a.dtype.newbyteorder()) for name, a in np.load(path).items()}
    np.savez(path.open("wb"), **arrays)
    loaded = tc.Codec.load(path)
    assert loaded.sigma.dtype.isnative
    codec, _ = train(images, path)
    assert_same_params(codec, finished[0])


def test_a_checkpoint_is_written_before_the_first_step(images, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr("tinycodec.files.checkpoint.write_file", full)
    monkeypatch.setattr("tinycodec.machine.session.loss_and_gradients", None)
    with pytest.raises(OSError, match="No space left"):
        train(images, tmp_path / "checkpoint")


def test_other_files_are_no_checkpoints(images, tmp_path):
    tc.Codec(2).save(tmp_path / "model")
    (tmp_path / "text").write_text("text")
    for name in ("model", "text"):
        with pytest.raises(ValueError, match=f"{name}: not the checkpoint of this training"):
            train(images, tmp_path / name)


# --- in a process of its own ---

@pytest.fixture
def command(mnist, tmp_path):
    """A training of many epochs of a fraction of a second, as one types it."""
    for name in FILES:
        (tmp_path / name).write_bytes(encode_idx(mnist[0][:100]))
    return [sys.executable, "-m", "tinycodec", "train", tmp_path / "model.npz", "--data", tmp_path, "--epochs", "1000",
            "--latent-dims", "2", "--lmbda", "1000", "--seed", "3"]


def start(command):
    """Start it, and wait for its first epoch."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True,       # in a background job, SIGINT is ignored
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    assert process.stderr.readline().startswith("epoch ")
    return process


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills six processes, which a fork starts at once")
def test_a_process_killed_at_any_moment_leaves_a_checkpoint_that_goes_on(images, tmp_path, monkeypatch, rng):
    path, epochs = tmp_path / "checkpoint", 0

    def reached():
        return len(np.load(path)["history"]) // 2 if path.exists() else 0

    for _ in range(6):
        process = os.fork()
        if not process:
            with suppress(BaseException):
                train(images, path, epochs=1000)
            os._exit(1)
        while reached() == epochs and os.waitpid(process, os.WNOHANG) == (0, 0):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        os.kill(process, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(process, 0)[1])
        epochs = reached()
    checkpoint = tc.Codec.load(path)
    monkeypatch.setattr("tinycodec.files.checkpoint.save", lambda *arguments, **more: None)       # time is saved, too
    expected, _ = train(images, tmp_path / "uninterrupted", epochs=1000, stop_after=epochs)
    assert_same_params(checkpoint, expected)


def test_control_c_leaves_a_checkpoint_and_one_line(command, tmp_path):
    process = start(command)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130 and "Traceback" not in error
    assert error.splitlines()[-1] == "tinycodec: interrupted; what is saved is kept, and a training goes on by the same command"
    tc.Codec.load(tmp_path / "model.npz.checkpoint")
    assert not list(tmp_path.glob("*.partial"))


def test_an_interruption_after_all_is_done_changes_nothing():
    script = ("import atexit, runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
              "atexit.register(signal.raise_signal, signal.SIGINT); runpy.run_module('tinycodec', run_name='__main__')")
    done = subprocess.run([sys.executable, "-c", script, "--help"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert (done.returncode, done.stderr.strip()) == (0, b"")


def test_an_interruption_between_two_arrays_is_not_turned_into_an_error_of_the_archive(codec, tmp_path, monkeypatch):
    def interrupted(self, *arguments, **options):
        opened.append(zip_open(self, *arguments, **options))
        raise Stop

    opened, zip_open = [], zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
    with pytest.raises(Stop):
        codec.save(tmp_path / "model.npz")
    assert not list(tmp_path.iterdir())
