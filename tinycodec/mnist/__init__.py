"""MNIST (Y. LeCun and C. Cortes, CC BY-SA 3.0), embedded; or any data set in its IDX layout."""
import struct
from pathlib import Path

import numpy as np

from ..files.safe import gunzip

FILES = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"


def load_mnist(directory=None):
    """-> (train_images, test_images): uint8 (n, 28, 28), of MNIST 60,000 and 10,000.

    `directory` is a folder in the four-file IDX layout (Fashion-MNIST, KMNIST, …), gzipped or
    not; the labels are not read. Raises FileNotFoundError and ValueError that name the file.
    """
    directory = Path(__file__).parent if directory is None else Path(directory)
    if not directory.is_dir():
        raise FileNotFoundError(f"no folder {directory}")
    paths = [find(directory, name) for name in FILES]
    return tuple(parse_idx(path.read_bytes(), path) for path in paths)


def find(directory, name):
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"neither {name} nor {name}.gz in {directory}")


def parse_idx(data, name):
    """The bytes of an IDX file, gzipped or not: big-endian magic 2051, n, rows, columns, then the pixels."""
    packed = data.startswith(b"\x1f\x8b")

    def begin(size):
        try:
            return gunzip(data, size) if packed else data
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None

    header = begin(16)[:16]
    if len(header) < 16:
        raise ValueError(f"{name}: expected a header of 16 bytes, got a file of {len(header)}")
    magic, n, rows, columns = struct.unpack(">4I", header)
    if magic != 2051:
        raise ValueError(f"{name}: expected the magic number 2051 of IDX images, got {magic}")
    if (rows, columns) != (28, 28):
        raise ValueError(f"{name}: expected images of 28×28 pixels, got {rows}×{columns}")
    size = 16 + n * 784
    if packed and size > max(2**28, 100 * len(data)):      # digits shrink to a fifth
        raise ValueError(f"{name}: expected at most {max(2**28, 100 * len(data))} bytes in these {len(data)}, got {n} images "
                         f"in {size}; if you trust it, unpack it first")
    pixels = begin(size + 1)
    if len(pixels) != size:
        raise ValueError(f"{name}: expected {n} images in {size} bytes, got {'more' if packed and len(pixels) > size else len(pixels)}")
    return np.frombuffer(pixels, np.uint8, offset=16).reshape(n, 28, 28)


def encode_idx(images):
    """uint8 (n, 28, 28) -> bytes, what `parse_idx` reads."""
    return struct.pack(">4I", 2051, *images.shape) + images.tobytes()
