import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

import tinycodec.mnist
from tinycodec import load_mnist

EMBEDDED = Path(tinycodec.mnist.__file__).parent


def idx(images, magic=2051):
    return struct.pack(">4I", magic, *images.shape) + images.tobytes()


@pytest.fixture
def folder(tmp_path, rng):
    for name in tinycodec.mnist.FILES:
        (tmp_path / name).write_bytes(idx(rng.integers(0, 256, (3, 28, 28), np.uint8)))
    return tmp_path


def test_embedded_files_are_the_published_ones():
    for line in (EMBEDDED / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        assert hashlib.sha256((EMBEDDED / name).read_bytes()).hexdigest() == digest


def test_mnist_is_sixty_and_ten_thousand_digits(mnist):
    assert [(a.shape, a.dtype) for a in mnist] == [((60_000, 28, 28), np.uint8), ((10_000, 28, 28), np.uint8)]


def test_gzipped_or_not_is_the_same(folder):
    plain = load_mnist(folder)
    for path in list(folder.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    for a, b in zip(plain, load_mnist(str(folder))):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_names_with_a_dot_are_found_too(ending, folder):
    expected = load_mnist(folder)
    for path in list(folder.iterdir()):                    # as browsers and unzippers write them
        data = path.read_bytes()
        path.with_name(path.name.replace("-idx3", ".idx3") + ending).write_bytes(gzip.compress(data) if ending else data)
        path.unlink()
    np.testing.assert_array_equal(load_mnist(folder), expected)


def test_missing_folder():
    with pytest.raises(FileNotFoundError, match="neither train-images-.* in nowhere, which is no folder"):
        load_mnist("nowhere")


def test_missing_file(folder):
    (folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(FileNotFoundError, match="neither t10k-images-idx3-ubyte nor"):
        load_mnist(folder)


def test_a_gzipped_file_of_several_members_is_read():
    data, images = idx(np.ones((3, 28, 28), np.uint8)), np.ones((3, 28, 28))
    members = b"".join(gzip.compress(part) for part in (data[:9], b"", data[9:], b""))
    np.testing.assert_array_equal(tinycodec.mnist.parse_idx(members + bytes(7), "a"), images)


GOOD = idx(np.zeros((3, 28, 28), np.uint8))


@pytest.mark.parametrize("data, message", [
    (b"", "16 bytes or more that begin with .*, got b''"), (GOOD[:100], "3 images in 2352 bytes, got 84"),
    (GOOD + b"\0", "3 images in 2352 bytes, got more"),
    (struct.pack(">2I", 2049, 60_000) + bytes(60_000), "expected IDX images, .*, got labels"),
    (b"<!DOCTYPE html>\n<title>404", r"expected IDX images, .*, got b'<!DOCTYPE html>\\n'"),
    (idx(np.zeros((3, 32, 32), np.uint8)), "28×28 pixels, got 32×32"),
    (gzip.compress(GOOD)[:-20], "damaged gzip"), (gzip.compress(GOOD)[:30] + b"junk" * 9, "damaged gzip"),
    (b"\x1f\x8bjunk", "damaged gzip"),
    (struct.pack(">4I", 2051, 2**32 - 1, 28, 28), "expected 4294967295 images in 3367254359280 bytes, got 0"),
    (gzip.compress(GOOD + b"more"), "expected 3 images in 2352 bytes, got more"),
    (gzip.compress(struct.pack(">4I", 2051, 2**32 - 1, 28, 28)), "expected fewer images in .* bytes, got 4294967295; if you trust it")])
def test_a_damaged_file_is_named(data, message, folder):
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as error:
        load_mnist(folder)
    assert str(path) in str(error.value)
