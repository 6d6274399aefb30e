"""MNIST (Y. LeCun and C. Cortes, CC BY-SA 3.0), embedded; or any data set in its IDX layout."""
import gzip
import struct
import zlib
from pathlib import Path

import numpy as np

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
    try:
        if data.startswith(b"\x1f\x8b"):
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{name}: damaged gzip data ({error})") from None
    if len(data) < 16:
        raise ValueError(f"{name}: expected a header of 16 bytes, got a file of {len(data)}")
    magic, n, rows, columns = struct.unpack(">4I", data[:16])
    if magic != 2051:
        raise ValueError(f"{name}: expected the magic number 2051 of IDX images, got {magic}")
    if (rows, columns) != (28, 28):
        raise ValueError(f"{name}: expected images of 28×28 pixels, got {rows}×{columns}")
    if len(data) != 16 + n * 784:
        raise ValueError(f"{name}: expected {n} images in {16 + n * 784} bytes, got {len(data)}")
    return np.frombuffer(data, np.uint8, offset=16).reshape(n, 28, 28)


def encode_idx(images):
    """uint8 (n, 28, 28) -> bytes, what `parse_idx` reads."""
    return struct.pack(">4I", 2051, *images.shape) + images.tobytes()
