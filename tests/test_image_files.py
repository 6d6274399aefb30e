import gzip
import io
import struct
import zlib
from contextlib import suppress

import numpy as np
import pytest
from PIL import Image

from tinycodec.files.images import parse_images, read_images, write_images
from tinycodec.mnist import encode_idx


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (12, 28, 28), np.uint8)


def png(array, **options):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "png", **options)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.npy", "a.idx", "a.idx.gz", "t10k-images-idx3-ubyte", "t10k-images-idx3-ubyte.gz", "folder"])
def test_what_is_written_is_read_again(name, images, tmp_path):
    write_images(tmp_path / name, images)
    np.testing.assert_array_equal(read_images(tmp_path / name), images)


@pytest.mark.parametrize("name", ["a.NPY", "a.b.npy", "a.IDX.gz", "with.a.dot"])
def test_names_are_read_as_one_means_them(name, images, tmp_path):
    (tmp_path / "with.a.dot").mkdir()
    write_images(tmp_path / name, images)
    np.testing.assert_array_equal(read_images(tmp_path / name), images)


def test_one_image_makes_a_png(images, tmp_path):
    write_images(tmp_path / "a.png", images[:1])
    np.testing.assert_array_equal(read_images(tmp_path / "a.png"), images[:1])


def test_arrays_in_fortran_order_are_read_as_what_they_are(images):
    np.testing.assert_array_equal(parse_images(npy(np.asfortranarray(images)), "a.npy"), images)


@pytest.mark.parametrize("name, message", [
    ("a.png", "for one image, .png, to write 12 images to"), ("a.jpg", "expected a folder, or a name that ends in .npy, .idx"),
    ("full", "expected an empty folder"), ("full/something", "something: expected a folder, or a name")])
def test_names_that_do_not_fit_are_an_error(name, message, images, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    with pytest.raises(ValueError, match=message):
        write_images(tmp_path / name, images)


GREY = np.zeros((28, 28), np.uint8)
HEADER = npy(np.zeros((3, 28, 28), np.uint8))[:128]


@pytest.mark.parametrize("data, message", [
    (b"", "expected an IDX file .*, got nothing"), (b"GIF89a", "begins with b'GIF89a'"),
    (png(np.zeros((640, 480), np.uint8)), "expected 28×28 pixels in mode L .8-bit grey., opaque, white on black, got 480×640 in mode L"),
    (png(np.zeros((28, 28, 3), np.uint8)), "got 28×28 in mode RGB"), (png(GREY)[:50], "not readable as images"),
    (png(GREY)[:40] + b"junk" + png(GREY)[44:], "not readable as images"), (b"\x89PNG", "not readable as images"),
    (npy(np.zeros((2, 28, 28))), "uint8 .n, 28, 28., got float64"), (npy(GREY), r"got uint8 \(28, 28\)"),
    (npy(np.zeros((2, 28, 28), np.uint8))[:-1], "expected 1568 bytes got 1567"),
    (npy(np.zeros((2, 28, 28), np.uint8)) + b"\0", "expected 1568 bytes of images, got more"),
    (b"\x93NUMPY junk", "a: "),
    (HEADER.replace(b"(3, 28", b"(-1, 28"), "a: "), (gzip.compress(encode_idx(GREY[None]))[:-9], "damaged gzip"),
    (encode_idx(GREY[None])[:-1], "1 images in 784 bytes, got 783")])
def test_a_wrong_file_is_an_error_that_names_it(data, message):
    with pytest.raises(ValueError, match=message) as error:
        parse_images(data, "a")
    assert str(error.value).startswith("a: ") and "\n" not in str(error.value)


def test_every_flipped_bit_of_a_png_is_an_error_or_leaves_the_pixels(images):
    data = png(images[0])
    for i in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[i // 8] ^= 1 << i % 8
        with suppress(ValueError):
            np.testing.assert_array_equal(parse_images(bytes(flipped), "a.png"), images[:1])


def grey_png(image, depth=8, interlaced=False, rows=28):
    """A PNG written chunk by chunk, intact but for having only so many `rows`."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    lines = []
    for row, column, down, right in passes if interlaced else [(0, 0, 1, 1)]:
        for line in image[row::down, column::right] >> (8 - depth):
            bits = np.unpackbits(line[:, None], axis=1)[:, 8 - depth:]
            lines.append(b"\0" + np.packbits(bits).tobytes())

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    packed = zlib.compress(b"".join(lines[:len(lines) * rows // 28]))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 28, 28, depth, 0, 0, 0, interlaced))
            + chunk(b"IDAT", packed[:20]) + chunk(b"IDAT", packed[20:]) + chunk(b"IEND", b""))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [2, 4, 8])
def test_a_png_with_too_few_rows_is_an_error_and_with_all_is_read(depth, interlaced, images):
    levels = images[:1] >> (8 - depth)
    expected = levels * np.uint8(255 // (2**depth - 1))
    np.testing.assert_array_equal(parse_images(grey_png(images[0], depth, interlaced), "a.png"), expected)
    with pytest.raises(ValueError, match="a.png: not readable as images .expected .* bytes of rows, got"):
        parse_images(grey_png(images[0], depth, interlaced, rows=27), "a.png")


def test_pickled_objects_are_refused():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="a.npy: "):
        parse_images(file.getvalue(), "a.npy")


def test_a_folder_without_png_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="expected PNG files in this folder, got none"):
        read_images(tmp_path)
