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
from ..machine.pixels import check_images
from ..mnist import encode_idx, parse_idx


def read_images(*paths):
    """Images in files, folders and standard input ("-") -> uint8 (n, 28, 28). Raises OSError and ValueError."""
    images = []
    for path in paths:
        files = sorted(Path(path).glob("*.[pP][nN][gG]")) if os.path.isdir(path) else [path]
        if not files:
            raise ValueError(f"{path}: expected PNG files in this folder, got none")
        images += [parse_images(read_file(file), file) for file in files]
    return np.concatenate(images)


def parse_images(data, name):
    """The bytes of a file called `name` -> uint8 (n, 28, 28)."""
    if data.startswith((b"\x1f\x8b", b"\0\0\x08")):
        return parse_idx(data, name)
    if not data.startswith((b"\x93NUMPY", b"\x89PNG")):
        raise ValueError(f"{name}: expected an IDX file (gzipped or not), .npy or PNG, "
                         f"got {f'a file that begins with {data[:8]}' if data else 'nothing'}")
    try:
        if data.startswith(b"\x93NUMPY"):
            file = io.BytesIO(data)
            images = check_images(np.load(file, allow_pickle=False))
            if file.read(1):
                raise ValueError(f"expected {images.nbytes} bytes of images, got more")
            return images
        Image.open(io.BytesIO(data)).verify()              # its checksums, which decoding ignores
        with Image.open(io.BytesIO(data)) as image:
            mode, (width, height) = image.mode, image.size
            if (mode, width, height) == ("L", 28, 28):
                check_rows(data)
                return np.asarray(image)[None]
    except Exception as error:                             # of a dozen kinds that NumPy and Pillow raise
        raise ValueError(f"{name}: not readable as images ({error})") from None
    # Of 16 bits, Pillow would clip all that is over 255.
    to_grey = ".convert('I').point(lambda v: v / 257)" * mode.startswith("I") + ".convert('L')"
    raise ValueError(f"{name}: expected a PNG in 8-bit grey (mode L) of 28×28 pixels, white on black, got mode {mode} of "
                     f"{width}×{height}; this converts it: python -c \"import sys; from PIL import Image; "
                     f"Image.open(sys.argv[1]){to_grey}.resize((28, 28)).save(sys.argv[2])\" old.png new.png")


def check_rows(data):
    """Raise ValueError if an intact PNG of 28×28 grey pixels holds too few of them: Pillow takes them as black."""
    depth, interlaced, packed, i = data[24], data[28], b"", 8
    while i < len(data):                                   # chunks: length, kind, content, checksum
        size, kind = struct.unpack_from(">I4s", data, i)
        packed += data[i + 8:i + 8 + size] * (kind == b"IDAT")
        i += 12 + size
    # Adam7: seven passes, each (first row, first column, steps between rows and columns) of an image of its own.
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    expected = sum(len(range(row, 28, down)) * (1 + -(-len(range(column, 28, right)) * depth // 8))
                   for row, column, down, right in (passes if interlaced else [(0, 0, 1, 1)]))
    got = len(zlib.decompressobj().decompress(packed, expected))
    if got < expected:
        raise ValueError(f"expected {expected} bytes of rows, got {got}")


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
    """Write uint8 (n, 28, 28) to a file, to standard output ("-", as .npy), or as PNG files into a new folder.
    Raises OSError and ValueError."""
    images, folder = check_images(images), Path(path)
    if path != "-" and (folder.is_dir() or not (folder.suffix or folder.name.endswith("ubyte") or folder.exists())):
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ValueError(f"{path}: expected an empty folder, or none")
        for i, image in enumerate(images):                 # sorted by name, they are in order again
            write_file(folder / f"{i:0{len(str(len(images)))}}.png", encode_images(image[None], ".png"))
    else:
        write_file(path, encode_images(images, ".npy" if path == "-" else str(path)))
