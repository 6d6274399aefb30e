import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from tinycodec.files import write_file
from tinycodec.mnist import FILES, encode_idx


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_previous_file_and_nothing_else(error, tmp_path, monkeypatch):
    def fail(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    path = tmp_path / "file"
    path.write_bytes(b"a previous")
    with pytest.raises(error):
        write_file(path, b"a new one")
    assert path.read_bytes() == b"a previous" and list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "target").write_bytes(b"an old one")
    (tmp_path / "link").symlink_to("target")
    write_file(tmp_path / "link", b"another")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "target").read_bytes() == b"another"


def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "usual").touch()
    write_file(tmp_path / "file", b"data")
    assert stat.S_IMODE(os.stat(tmp_path / "file").st_mode) == stat.S_IMODE(os.stat(tmp_path / "usual").st_mode)


def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "private").touch(mode=0o600)
    write_file(tmp_path / "private", b"data")
    assert stat.S_IMODE(os.stat(tmp_path / "private").st_mode) == 0o600


def test_a_file_of_another_kind_is_not_replaced(tmp_path):
    (tmp_path / "digits.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"digits.npy: expected a new name, or a file to replace that begins with b'PK', got one of another kind"):
        write_file(tmp_path / "digits.npy", b"PK\3\4")
    assert (tmp_path / "digits.npy").read_bytes() == b"\x93NUMPY"


def test_a_folder_that_is_missing_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        write_file(tmp_path / "missing" / "file", b"data")
    assert error.value.filename == str(tmp_path / "missing" / "file")


def test_a_device_is_written_to_not_replaced():
    write_file("/dev/null", b"data")
    assert not os.path.isfile("/dev/null")


@pytest.mark.skipif(not os.path.exists("/dev/stdout"), reason="needs the names of open files")
def test_a_pipe_that_has_a_name_is_written_to():
    script = "from tinycodec.files import write_file; write_file('/dev/stdout', b'data')"
    assert subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout == b"data"


@pytest.mark.skipif(sys.platform == "win32", reason="limits the size of files as a full disk would")
def test_a_full_disk_is_one_line_and_the_previous_file_survives(codec, tmp_path):
    codec.save(tmp_path / "model.npz")
    before = (tmp_path / "model.npz").read_bytes()
    for name in FILES:
        (tmp_path / name).write_bytes(encode_idx(np.zeros((10, 28, 28), np.uint8)))
    script = ("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
              "from tinycodec.__main__ import main; main()")
    done = subprocess.run([sys.executable, "-c", script, "train", tmp_path / "model.npz", "--epochs", "1", "--data", tmp_path],
                          capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"tinycodec: [Errno 27] File too large: '{tmp_path / 'model.npz'}")
    assert (tmp_path / "model.npz").read_bytes() == before
    assert not list(tmp_path.glob("*.partial"))
