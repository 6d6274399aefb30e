"""Files: a crash never leaves half of one, and a bad one is an error before it can do harm."""
import io
import os
import shutil
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path


def read_file(path):
    """-> bytes of a file; of standard input, if `path` is "-"."""
    with open(0 if path == "-" else path, "rb", closefd=path != "-") as file:
        return file.read()


def expect_kind(path, begin):
    """Raise ValueError if `path` is a file of another kind, with other bytes than these two at its beginning."""
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        if file.read(2) not in (b"", begin):
            raise ValueError(f"{path}: expected a new name, or a file to replace that begins with {begin}, got one of another kind")


def write_file(path, data):
    """Write bytes. Whatever happens, a file `path` then holds all of them, or what it held before. "-" is standard
    output (not sys.stdout, which would try again at exit to write what a closed pipe or a full disk refused)."""
    stdout, target = path == "-", Path(os.path.realpath(path))         # a link stays a link
    if stdout and os.isatty(1) and b"\0" in data:
        raise ValueError("expected -o, a pipe or a redirection, got a terminal to write binary data to")
    if stdout or os.path.exists(path) and not os.path.isfile(path):    # a pipe or a device: there is nothing to replace
        with open(1 if stdout else path, "wb", closefd=not stdout) as file:
            file.write(data)
        return
    expect_kind(path, bytes(data[:2]))                     # an input, perhaps, named by mistake
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            if target.exists():
                shutil.copymode(target, partial)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except OSError as error:                               # which would name the partial file, or none
        raise OSError(error.errno, error.strerror, str(path)) from None
    finally:
        with suppress(OSError):                            # as a rule, it has been renamed
            partial.unlink()


@contextmanager
def open_archive(path, what):
    """Open a .npz file as a ZipFile. Whatever is wrong with it or its use is a ValueError: not `what`."""
    data = io.BytesIO(Path(path).read_bytes())             # a pipe is welcome, too
    try:
        with zipfile.ZipFile(data) as archive:
            yield archive
    except Exception as error:                             # of a dozen kinds that zipfile and NumPy raise
        raise ValueError(f"{path}: not {what} ({error})") from None


def read_array(archive, name, like=None):
    """Read an array of an open .npz file; if `like` is given, one of its dtype and shape, and finite."""
    import numpy as np                                     # here: `python -m tinycodec --help` does without
    member = archive.getinfo(f"{name}.npy")
    if like is not None and member.file_size > like.nbytes + 2**16:      # before it is unpacked: zip bombs
        raise ValueError(f"expected {name} in about {like.nbytes} bytes, got {member.file_size}")
    # Read to its end, and so checked by the archive's CRC-32.
    a = np.lib.format.read_array(io.BytesIO(archive.read(member)), allow_pickle=False)
    if like is not None and ((a.dtype, a.shape) != (like.dtype, like.shape) or not np.isfinite(a).all()):
        raise ValueError(f"expected {name} to be finite {like.dtype} {like.shape}, got {a.dtype} {a.shape}")
    return a
