"""Images in files: MNIST's IDX format, NumPy's .npy, PNG, and folders of PNG files."""
import gzip
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image                  # Pillow comes with matplotlib

from .safe import read_file, write_file
from ..machine.checks import check_images
from ..mnist import encode_idx, parse_idx


def read_images(*paths):
    """Images in files, folders and standard input ("-") -> uint8 (n, 28, 28). Raises OSError and ValueError."""
    if not paths:
        raise ValueError("expected files or folders of images, got none")
    images = []
    for path in paths:
        files = [path]
        if os.path.isdir(path):
            files = sorted(Path(path, name) for name in os.listdir(path) if name.lower().endswith(".png") and name[0] != ".")
        if not files:
            raise ValueError(f"{path}: expected PNG files in this folder, got none")
        images += [parse_images(read_file(file), file) for file in files]
    return np.concatenate(images)


def parse_images(data, name):
    """The bytes of a file called `name` -> uint8 (n, 28, 28)."""
    if data.startswith((b"\x1f\x8b", b"\0\0")):
        return parse_idx(data, name)
    if not data.startswith((b"\x93NUMPY", b"\x89PNG")):
        raise ValueError(f"{name}: expected an IDX file (gzipped or not), .npy or PNG, got one that begins with {data[:8]}")
    try:
        if data.startswith(b"\x89PNG"):
            return parse_png(data)
        file = io.BytesIO(data)
        images = check_images(np.load(file, allow_pickle=False))
        if file.read(1):
            raise ValueError(f"expected {images.nbytes} bytes of images, got more")
        return images
    except Exception as error:                             # of a dozen kinds that NumPy and Pillow raise
        raise ValueError(f"{name}: not readable as images ({error})") from None


def parse_png(data):
    """The bytes of a PNG -> uint8 (1, 28, 28). Pillow gets only the chunks that pixels depend on, and
    all rows: it takes missing ones as black."""
    chunks, kind, i = [data[:8]], b"", 8
    while kind != b"IEND" and i + 12 <= len(data):         # a chunk: length, kind, content, checksum
        size, kind = struct.unpack_from(">I4s", data, i)
        if kind[:1].isupper() or kind == b"tRNS":
            chunks.append(data[i:i + 12 + size])
        i += 12 + size
    if i != len(data):
        raise ValueError(f"expected {i} bytes, got {len(data)}")
    image = Image.open(io.BytesIO(b"".join(chunks)))
    got = f"{image.width}×{image.height} in mode {image.mode}" + ", transparent" * ("transparency" in image.info)
    if got != "28×28 in mode L":
        raise ValueError(f"expected 28×28 pixels in mode L (8-bit grey), opaque, white on black, got {got}")
    depth, interlaced = data[24], data[28]
    # Adam7: seven passes, each (first row, first column, steps between rows and columns) of an image of its own.
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    expected = sum(len(range(row, 28, down)) * (1 + -(-len(range(column, 28, right)) * depth // 8))
                   for row, column, down, right in (passes if interlaced else [(0, 0, 1, 1)]))
    packed = zlib.decompressobj()
    rows = packed.decompress(b"".join(chunk[8:-4] for chunk in chunks if chunk[4:8] == b"IDAT"), expected + 1)
    if len(rows) != expected or not packed.eof or packed.unused_data:      # at its end, their checksum is right
        raise ValueError(f"expected {expected} bytes of rows, got {len(rows) if len(rows) < expected else 'others'}")
    return np.asarray(image)[None]


def encode_images(images, name):
    """uint8 (n, 28, 28) -> the bytes of a file called `name`, whose ending says of what kind."""
    file = io.BytesIO()
    if name.lower().endswith(".npy"):
        np.save(file, images)
    elif name.lower().endswith((".idx", "ubyte")):         # as MNIST's files are called
        file.write(encode_idx(images))
    elif name.lower().endswith((".idx.gz", "ubyte.gz")):
        file.write(gzip.compress(encode_idx(images), mtime=0))
    elif name.lower().endswith(".png") and len(images) == 1:
        Image.fromarray(images[0]).save(file, "png")
    else:
        raise ValueError(f"{name}: expected a folder, or a name that ends in .npy, .idx, .idx.gz or, for one image, .png, "
                         f"to write {len(images)} images to")
    return file.getvalue()


def write_images(path, images):
    """Write uint8 (n, 28, 28) to a file, to standard output ("-") or a pipe (as .npy), or as PNG files into a new folder.
    Raises OSError and ValueError."""
    images, folder = check_images(images), Path(path)
    is_name = os.path.basename(path) and (folder.suffix or folder.name.endswith("ubyte") or folder.exists())
    if path != "-" and (folder.is_dir() or not is_name):
        folder.mkdir(parents=True, exist_ok=True)
        if any(name[0] != "." for name in os.listdir(folder)):
            raise ValueError(f"{path}: expected an empty folder, or none")
        for i, image in enumerate(images):                 # sorted by name, they are in order again
            write_file(folder / f"{i:0{len(str(len(images)))}}.png", encode_images(image[None], ".png"))
    else:
        pipe = path == "-" or folder.exists() and not (folder.suffix or folder.is_file())
        write_file(path, encode_images(images, ".npy" if pipe else str(path)))
