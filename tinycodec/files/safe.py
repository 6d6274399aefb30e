"""Files: a crash never leaves half of one, and a bad one is an error before it can do harm."""
import io
import math
import os
import secrets
import shutil
import zipfile
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np


def printable(text):
    """`text`, with escapes for what would move the cursor of a terminal, or do worse."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


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
    partial = target.with_name(f"{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:                  # "x": never into what is there, a link of somebody's
            if target.exists():
                shutil.copymode(target, partial)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)
        with suppress(OSError):                            # some systems cannot sync a folder
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)                           # else a power cut may undo the renaming
            finally:
                os.close(folder)
    except OSError as error:                               # which would name the partial file, or none
        raise OSError(error.errno, error.strerror, str(path)) from None
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
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError(f"expected {name} in version 1.0 of the .npy format")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if like is not None and (dtype, shape) != (like.dtype, like.shape):
        raise ValueError(f"expected {name} to be {like.dtype} {like.shape}, got {dtype} {shape}")
    if math.prod(shape) * dtype.itemsize > len(data):      # before NumPy makes room for it
        raise ValueError(f"expected {math.prod(shape)} numbers in {name}, got {len(data)} bytes")
    file.seek(0)
    a = np.lib.format.read_array(file, allow_pickle=False)
    if like is not None and not np.isfinite(a).all():
        raise ValueError(f"expected {name} to be finite")
    return a


def gunzip(data, most):
    """Bytes of gzip's format -> the first `most` bytes in them: gzip.decompress would unpack whatever there is,
    and takes quadratic time for many short members. Raises ValueError if they are damaged."""
    file, out, member = io.BytesIO(data), bytearray(), zlib.decompressobj(wbits=31)
    try:
        while len(out) < most:
            piece = member.unconsumed_tail or member.unused_data.lstrip(b"\0") or file.read(4096)
            if not piece:
                break
            if member.eof:
                member = zlib.decompressobj(wbits=31)
            out += member.decompress(piece, most - len(out))
    except zlib.error as error:
        raise ValueError(f"damaged gzip data ({error})") from None
    if len(out) < most and not member.eof:
        raise ValueError("damaged gzip data (it ends too early)")
    return bytes(out)
