"""MNIST (Y. LeCun and C. Cortes, CC BY-SA 3.0), embedded; or any data set in its IDX layout."""
import gzip
import io
import struct
import zlib
from pathlib import Path

import numpy as np

FILES = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"


def load_mnist(directory=None):
    """-> (train_images, test_images): uint8 (n, 28, 28), of MNIST 60,000 and 10,000.

    `directory` is a folder in the four-file IDX layout (Fashion-MNIST, KMNIST, …), gzipped or
    not, named …-idx3-ubyte or ….idx3-ubyte; the labels are not read. Raises FileNotFoundError and ValueError that name the file.
    """
    directory = Path(__file__).parent if directory is None else Path(directory)
    return tuple(parse_idx(path.read_bytes(), path) for path in [find(directory, name) for name in FILES])


def find(directory, name):
    dotted = name.replace("-idx", ".idx")                  # as browsers and unzippers write it
    for path in (directory / name, directory / f"{name}.gz", directory / dotted, directory / f"{dotted}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"neither {name} nor {name}.gz in {directory}{'' if directory.is_dir() else ', which is no folder'}")


def parse_idx(data, name):
    """The bytes of an IDX file, gzipped or not: big-endian magic 2051, n, rows, columns, then the pixels."""
    packed = data.startswith(b"\x1f\x8b")
    file = gzip.GzipFile(fileobj=Sips(data)) if packed else io.BytesIO(data)
    try:
        header = file.read(16)
        magic, n, rows, columns = struct.unpack(">4I", header.ljust(16, b"\0"))
        if magic != 2051 or len(header) < 16:
            raise ValueError(f"{name}: expected IDX images, 16 bytes or more that begin with the number 2051, "
                             f"got {'labels' if magic == 2049 else header}")
        if (rows, columns) != (28, 28):
            raise ValueError(f"{name}: expected images of 28×28 pixels, got {rows}×{columns}")
        if packed and n * 784 > max(2**28, 100 * len(data)):               # digits shrink to a fifth
            raise ValueError(f"{name}: expected fewer images in {len(data)} bytes, got {n}; if you trust it, unpack it first")
        pixels = file.read(n * 784 + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name}: damaged gzip data ({error})") from None
    if len(pixels) != n * 784:
        raise ValueError(f"{name}: expected {n} images in {n * 784} bytes, got {'more' if len(pixels) > n * 784 else len(pixels)}")
    return np.frombuffer(pixels, np.uint8).reshape(n, 28, 28)


class Sips(io.BytesIO):
    def read(self, size=-1):                               # gzip is slow if it gets many short members at once
        return super().read(min(size, 4096))


def encode_idx(images):
    """uint8 (n, 28, 28) -> bytes, what `parse_idx` reads."""
    return struct.pack(">4I", 2051, *images.shape) + images.tobytes()
