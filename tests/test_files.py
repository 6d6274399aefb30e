import errno
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

from tinycodec.files.safe import open_archive, read_array, read_file, write_file
from tinycodec.mnist import FILES, encode_idx


def failing(error):
    def fail(*arguments, **options):
        raise error
    return fail


@pytest.mark.parametrize("error", [OSError, OSError(errno.EIO, ""), OSError(errno.ENOSPC, ""), KeyboardInterrupt])
def test_a_failed_write_leaves_the_previous_file_and_nothing_else(error, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", failing(error))
    path = tmp_path / "file"
    path.write_bytes(b"a previous")
    with pytest.raises(BaseException) as raised:
        write_file(path, b"a new one")
    assert isinstance(raised.value, error if isinstance(error, type) else OSError)
    assert path.read_bytes() == b"a previous" and list(tmp_path.iterdir()) == [path]


# --- what other file systems refuse ---

@pytest.mark.parametrize("call, code", [("chmod", "EPERM"), ("chmod", "ENOTSUP"), ("fsync", "EINVAL"), ("fsync", "ENOSYS")])
def test_a_file_is_replaced_where_modes_or_syncing_are_refused(call, code, tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"a previous")
    monkeypatch.setattr(os, call, failing(OSError(getattr(errno, code), "refused")))
    with path.open("rb") as before:
        write_file(path, b"a new one")
        assert path.read_bytes() == b"a new one" and list(tmp_path.iterdir()) == [path]
        assert before.read() == b"a previous"              # not in place


@pytest.mark.parametrize("previous", [b"", b"PK, a previous and longer one"])
@pytest.mark.parametrize("call, code", [("os.replace", "EBUSY"), ("os.replace", "ENOSYS"), ("tinycodec.files.safe.open", "EROFS"),
                                        ("tinycodec.files.safe.open", "EACCES")])
def test_what_cannot_be_replaced_is_written_in_place_and_that_is_said(call, code, previous, tmp_path, monkeypatch):
    path = tmp_path / "file"                               # perhaps bound into a container, in a folder that is not ours
    path.write_bytes(previous)
    refused = failing(OSError(getattr(errno, code), "refused"))
    monkeypatch.setattr(call, lambda a, b: refused() if b in (path, "xb") else open(a, b), raising=False)
    with pytest.warns(UserWarning, match="file: written in place, as it cannot be replaced"):
        write_file(path, b"PK, a new one")
    assert path.read_bytes() == b"PK, a new one" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("access", [read_file, lambda path: write_file(path, b"data")])
def test_an_error_names_the_file_as_its_user_does(access, tmp_path, monkeypatch):
    for path, name in ((tmp_path / "missing" / "file", str(tmp_path / "missing" / "file")), ("-", "-")):
        monkeypatch.setattr("tinycodec.files.safe.open", failing(OSError(errno.ENOENT, "none", "a temporary name")), raising=False)
        with pytest.raises(FileNotFoundError) as error:
            access(path)
        assert error.value.filename == name


def test_two_threads_that_save_to_one_name_and_a_reader_never_see_half_a_file(tmp_path):
    path, contents = tmp_path / "file", {letter * 10**6 for letter in (b"a", b"b")}

    def save(data):
        for _ in range(20):
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


@pytest.mark.parametrize("like", [None, np.zeros(10)])
@pytest.mark.parametrize("method", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
def test_an_array_larger_than_expected_is_not_unpacked(method, like):
    file, content = io.BytesIO(), io.BytesIO()
    np.save(content, np.zeros(10**6))
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
    with pytest.raises(ValueError, match=r"not it \(cannot reshape array of size 0 into shape \(1000000000000000,\)\)"):
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


def test_a_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    def open_as_a_user(path, mode, **options):             # and not as root, who may write to all
        if mode != "rb" and os.path.exists(path) and not os.stat(path).st_mode & stat.S_IWUSR:
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return open(path, mode, **options)

    (tmp_path / "model.npz").write_bytes(b"PK, a previous")
    (tmp_path / "model.npz").chmod(0o444)
    monkeypatch.setattr("tinycodec.files.safe.open", open_as_a_user, raising=False)
    with pytest.raises(PermissionError, match="model.npz"):
        write_file(tmp_path / "model.npz", b"PK, a new one")
    assert (tmp_path / "model.npz").read_bytes() == b"PK, a previous"


def test_a_file_of_another_kind_is_not_replaced(tmp_path):
    (tmp_path / "digits.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match=r"digits.npy: expected a new name, or a file to replace that begins with b'PK', got one of another kind"):
        write_file(tmp_path / "digits.npy", b"PK\3\4")
    assert (tmp_path / "digits.npy").read_bytes() == b"\x93NUMPY"


@pytest.mark.parametrize("access", [read_file, lambda path: write_file(path, b"data")])
def test_a_number_is_no_name(access):                      # True would be standard output, and then closed
    with pytest.raises(TypeError, match="expected str, bytes or os.PathLike object, not bool"):
        access(True)


def test_a_device_is_written_to_not_replaced():
    write_file("/dev/null", b"data")
    assert not os.path.isfile("/dev/null")


@pytest.mark.skipif(not os.path.exists("/dev/fd"), reason="needs the names of open files")
def test_a_pipe_that_has_a_name_is_written_to():
    reader, writer = os.pipe()
    with open(reader, "rb") as pipe:
        with open(writer):
            write_file(f"/dev/fd/{writer}", b"data")       # as is /dev/stdout
        assert pipe.read() == b"data"


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
