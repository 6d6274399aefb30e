"""Files: a crash never leaves half of one, and a bad one is an error before it can do harm."""
import errno
import io
import os
import secrets
import shutil
import warnings
import zipfile
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

# What CIFS, NFS, FUSE or a container may say of what is good to have (modes, syncing, renaming) where writing works.
NOT_HERE = {errno.EACCES, errno.EBUSY, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EPERM, errno.EROFS, errno.EXDEV}


def printable(text):
    """`text`, with escapes for what would move the cursor of a terminal, or do worse."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def read_file(path):
    """-> bytes of a file; of standard input, if `path` is "-"."""
    try:
        with open(0 if path == "-" else os.fspath(path), "rb", closefd=path != "-") as file:
            return file.read()
    except OSError as error:                               # which may name no file
        raise OSError(error.errno, error.strerror, str(path)) from None


def expect_kind(path, begin):
    """Raise ValueError if `path` is a file of another kind, with other bytes than these two at its beginning, and
    OSError if it is write-protected: it could be replaced all the same."""
    if os.path.isfile(path):
        with open(path, "r+b") as file:
            if file.read(2) not in (b"", begin):
                raise ValueError(f"{path}: expected a new name, or a file to replace that begins with {begin}, got one of another kind")


def write_file(path, data):
    """Write bytes. Whatever happens, a file `path` then holds all of them, or what it held before; only where nothing
    can be replaced is it written in place, with a warning. "-" is standard output (not sys.stdout, which would try
    again at exit to write what a closed pipe or a full disk refused)."""
    stdout, path = path == "-", os.fspath(path)
    if stdout and os.isatty(1) and b"\0" in data:
        raise ValueError("expected -o, a pipe or a redirection, got a terminal to write binary data to")
    try:
        if stdout or os.path.exists(path) and not os.path.isfile(path):    # a pipe or a device: there is nothing to replace
            with open(1 if stdout else path, "wb", closefd=not stdout) as file:
                file.write(data)
        else:
            expect_kind(path, bytes(data[:2]))             # an input, perhaps, named by mistake
            _replace(Path(os.path.realpath(path)), data)   # a link stays a link
    except OSError as error:                               # which would name the partial file, or none
        raise OSError(error.errno, error.strerror, str(path)) from None


def _replace(path, data):
    partial = path.with_name(f"{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:                  # "x": never into what is there, a link of somebody's
            with suppress(OSError):                        # path may be new, or its mode not for us to set
                shutil.copymode(path, partial)
            file.write(data)
            file.flush()
            try:
                os.fsync(file.fileno())
            except OSError as error:
                if error.errno not in NOT_HERE:
                    raise
        os.replace(partial, path)
        with suppress(OSError):                            # some systems cannot sync a folder
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)                           # else a power cut may undo the renaming
            finally:
                os.close(folder)
    except OSError as error:
        if error.errno not in NOT_HERE:
            raise
        path.write_bytes(data)
        warnings.warn(f"{path}: written in place, as it cannot be replaced: a crash at that moment leaves a part of it")
    finally:
        with suppress(OSError):                            # as a rule, it has been renamed
            partial.unlink()


@contextmanager
def open_archive(data, what):
    """Open the bytes of a .npz file as a ZipFile. Whatever is wrong with it or its use is a ValueError: `what`."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            yield archive
    except MemoryError:
        raise
    except Exception as error:                             # of a dozen kinds that zipfile and NumPy raise
        raise ValueError(f"{what} ({error})") from None


def read_array(archive, name, like=None, most=2**16):
    """Read an array of an open .npz file; if `like` is given, one of its dtype and shape, and finite; else
    one of at most `most` bytes. No more than that is unpacked, whatever the archive promises."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):     # others are unpacked before they are cut
        raise ValueError(f"expected {name} stored or deflated, got compression method {member.compress_type}")
    most = 2**16 + (most if like is None else like.nbytes)
    with archive.open(member) as file:
        data = file.read(most + 1)                         # to its end, and so checked by the archive's CRC-32
    if len(data) > most:
        raise ValueError(f"expected {name} in about {most - 2**16} bytes, got more")
    file = io.BytesIO(data)
    np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    if like is not None and (dtype.newbyteorder("="), shape) != (like.dtype, like.shape):
        raise ValueError(f"expected {name} to be {like.dtype} {like.shape}, got {dtype} {shape}")
    a = np.frombuffer(data, dtype, offset=file.tell()).reshape(shape, order="F" if fortran else "C")
    if like is not None and not np.isfinite(a).all():
        raise ValueError(f"expected {name} to be finite")
    return a.astype(dtype.newbyteorder("="))               # the machine that wrote it may have another
