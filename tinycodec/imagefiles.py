"""Images in files: MNIST's IDX format, NumPy's .npy, PNG, and folders of PNG files."""
import gzip
import io
from pathlib import Path

import numpy as np
from PIL import Image                  # Pillow comes with matplotlib

from .files import read_npy, write_file
from .images import check_images
from .mnist import encode_idx, parse_idx

KINDS = "an IDX file (gzipped or not), a .npy file, a PNG file or a folder of PNG files"


def image_files(path):
    """The files that `read_images` reads: `path` itself, or the PNG files in that folder."""
    path = Path(path)
    if not path.is_dir():
        return [path]
    return sorted(p for p in path.iterdir() if p.suffix.lower() == ".png" and p.is_file() and p.name[0] != ".")


def read_images(path):
    """Images in a file or folder -> uint8 (n, 28, 28). Raises OSError, or ValueError that names the file."""
    files = image_files(path)
    if not files:
        raise ValueError(f"{path}: expected PNG files in this folder, got none")
    return np.concatenate([parse_images(file.read_bytes(), file) for file in files])


def parse_images(data, name):
    """The bytes of a file called `name` -> uint8 (n, 28, 28)."""
    if data.startswith((b"\x1f\x8b", b"\0\0\x08")):
        return parse_idx(data, name)
    if data.startswith(b"\x89PNG"):
        return _parse_png(data, name)
    if not data.startswith(b"\x93NUMPY"):
        raise ValueError(f"{name}: expected {KINDS}, got "
                         + (f"a file that begins with {data[:8]}" if data else "nothing"))
    try:
        # Images of no memory stand in for those that the header claims.
        return read_npy(io.BytesIO(data), lambda dtype, shape: check_images(np.broadcast_to(np.zeros((), dtype), shape)))
    except Exception as error:                             # of a dozen kinds
        raise ValueError(f"{name}: {error}") from None


def _parse_png(data, name):
    try:
        with Image.open(io.BytesIO(data)) as image:
            mode, (width, height) = image.mode, image.size
            if (mode, width, height) == ("L", 28, 28):
                return np.asarray(image)[None]
    except Exception as error:                             # of a dozen kinds
        raise ValueError(f"{name}: damaged PNG ({error})") from None
    # Of 16 bits, Pillow would clip all that is over 255.
    to_grey = ".convert('I').point(lambda v: v / 257)" * mode.startswith("I") + ".convert('L')"
    raise ValueError(f"{name}: expected a PNG in 8-bit grey (mode L) of 28×28 pixels, white on black, got mode {mode} of "
                     f"{width}×{height}; this converts it: python -c \"import sys; from PIL import Image; "
                     f"Image.open(sys.argv[1]){to_grey}.resize((28, 28)).save(sys.argv[2])\" old.png new.png")


def encode_images(images, name):
    """uint8 (n, 28, 28) -> the bytes of a file called `name`, whose ending says in which format."""
    file = io.BytesIO()
    if name.lower().endswith(".npy"):
        np.save(file, images)
    elif name.lower().endswith(".png"):
        if len(images) != 1:
            raise ValueError(f"{name}: expected one image for a PNG file, got {len(images)}; for more, name a folder")
        Image.fromarray(images[0]).save(file, "png")
    elif name.lower().endswith(("ubyte", ".idx")):
        file.write(encode_idx(images))
    elif name.lower().endswith(("ubyte.gz", ".idx.gz")):
        file.write(gzip.compress(encode_idx(images), mtime=0))
    else:
        raise ValueError(f"{name}: expected a folder, or a name that ends in .npy, .png, .idx, .idx.gz, ubyte or ubyte.gz")
    return file.getvalue()


def write_images(path, images):
    """Write uint8 (n, 28, 28) to a file, or as PNG files into a new folder. Raises OSError and ValueError."""
    path, images = Path(path), check_images(images)
    if path.is_dir() or not ("." in path.name or path.name.endswith("ubyte") or path.exists()):
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise ValueError(f"{path}: expected an empty folder, or none")
        for i, image in enumerate(images):                 # sorted by name, they are in order again
            write_images(path / f"{i:0{len(str(len(images)))}}.png", image[None])
    else:
        write_file(path, encode_images(images, str(path)))
