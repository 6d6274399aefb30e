import gzip
import io
import os
import stat
import subprocess
import sys
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tinycodec.files.safe import gunzip, open_archive, read_array, write_file
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


def test_two_threads_that_save_to_one_name_and_a_reader_never_see_half_a_file(tmp_path):
    path, contents = tmp_path / "file", {letter * 10**6 for letter in (b"a", b"b")}

    def save(data):
        for _ in range(50):
            write_file(path, b"PK" + data)

    with ThreadPoolExecutor(2) as pool:
        saves = [pool.submit(save, data) for data in contents]
        while not all(s.done() for s in saves):
            assert not path.exists() or path.read_bytes()[2:] in contents
    assert [s.result() for s in saves] == [None, None] and list(tmp_path.iterdir()) == [path]


def test_a_file_may_have_the_longest_name_there_is(tmp_path):
    write_file(tmp_path / (255 * "n"), b"data")
    assert (tmp_path / (255 * "n")).read_bytes() == b"data"


def test_a_link_planted_where_the_new_file_is_written_is_not_followed(tmp_path, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda size: "guessed")
    (tmp_path / "guessed.partial").symlink_to("victim")
    with pytest.raises(FileExistsError):
        write_file(tmp_path / "file", b"data")
    assert not (tmp_path / "victim").exists()


@pytest.mark.skipif(os.name != "posix", reason="folders are synced on POSIX systems only")
def test_the_folder_is_synced_after_the_file_was_renamed(tmp_path, monkeypatch):
    calls, replace, fsync = [], os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("rename"), replace(*names)))
    monkeypatch.setattr(os, "fsync", lambda file: (calls.append(stat.S_ISDIR(os.fstat(file).st_mode)), fsync(file)))
    write_file(tmp_path / "file", b"data")
    assert calls == [False, "rename", True]


@pytest.mark.parametrize("most", [0, 1, 5, 10**6])
def test_gunzip_gives_the_beginning_of_what_is_packed(most):
    data = b"".join(gzip.compress(part) for part in (b"one", b"", b"two" * 10_000)) + bytes(7)
    assert gunzip(data, most) == (b"one" + b"two" * 10_000)[:most]


@pytest.mark.parametrize("like", [None, np.zeros(10)])
@pytest.mark.parametrize("method", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_an_array_larger_than_expected_is_not_unpacked(method, like):
    file, content = io.BytesIO(), io.BytesIO()
    np.save(content, np.zeros(3 * 10**6))
    with zipfile.ZipFile(file, "w", getattr(zipfile, method)) as archive:
        archive.writestr("a.npy", content.getvalue())
    tracemalloc.start()
    with pytest.raises(ValueError, match="not it .(expected a stored or deflated|Bad CRC)"):
        with open_archive(file.getvalue(), "not it") as archive:
            archive.getinfo("a.npy").file_size = 128 + 80              # what a bomb's directory says
            read_array(archive, "a", like)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < (2 * len(file.getvalue()) if method == "ZIP_STORED" else 0) + 2 * 10**6


def test_an_array_that_promises_more_than_it_holds_is_not_made_room_for():
    file, content = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(content, {"descr": "<f8", "fortran_order": False, "shape": (10**15,)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", content.getvalue())
    with pytest.raises(ValueError, match="expected 1000000000000000 numbers in a, got"):
        with open_archive(file.getvalue(), "not it") as archive:
            read_array(archive, "a")


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
    script = "from tinycodec.files.safe import write_file; write_file('/dev/stdout', b'data')"
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
