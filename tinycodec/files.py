"""Files: a crash never leaves half of one, and a bad one is an error before it can do harm."""
import io
import math
import os
import shutil
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np


def write_file(path, data):
    """Write bytes. Whatever happens, a file `path` then holds all of them, or what it held before."""
    path = Path(path)
    if path.exists() and not path.is_file():               # a pipe or a device: there is nothing to replace
        with open(path, "wb") as file:
            file.write(data)
        return
    target = Path(os.path.realpath(path))                  # a link stays a link
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    try:
        with open(partial, "wb") as file:
            if target.exists():
                shutil.copymode(target, partial)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError):                     # which would name the partial file, or none
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise


def read_npy(file, accept):
    """Read an array in NumPy's .npy format, without pickled objects.

    `accept(dtype, shape)` raises an error unless they are as expected: a header may claim any size, and
    so much is read only after that.
    """
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("expected version 1.0 of the .npy format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    accept(dtype, shape)
    size = math.prod(shape) * dtype.itemsize
    data = file.read(size + 1)
    if len(data) != size:
        raise ValueError(f"expected {size} bytes of {dtype} {shape}, got {'more' if len(data) > size else len(data)}")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")


@contextmanager
def open_archive(path, what):
    """Open a .npz file as a ZipFile. Whatever is wrong with it or its use is a ValueError: not `what`."""
    data = io.BytesIO(Path(path).read_bytes())             # a pipe is welcome, too
    try:
        with zipfile.ZipFile(data) as archive:
            yield archive
    except Exception as error:                             # of a dozen kinds that zipfile and NumPy raise
        raise ValueError(f"{path}: not {what} ({error})") from None


def read_array(archive, name, like):
    """Read an array of a .npz file, an open ZipFile: of the dtype and shape of `like`, and finite."""
    def accept(dtype, shape):
        if (dtype, shape) != (like.dtype, like.shape):
            raise ValueError(f"expected {name} to be {like.dtype} {like.shape}, got {dtype} {shape}")

    with archive.open(f"{name}.npy") as file:
        a = read_npy(file, accept)
    if not np.isfinite(a).all():
        raise ValueError(f"expected {name} to be finite")
    return a
