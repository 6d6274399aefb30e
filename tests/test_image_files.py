import errno
import gzip
import io
import os
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
    (b"", "expected an IDX file .*, got one that begins with b''"), (b"GIF89a", "begins with b'GIF89a'"),
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


def grey_png(image, depth=8, interlaced=False, rows=28, more=b""):
    """A PNG written chunk by chunk, intact except that it has only so many `rows`, or `more` behind them."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    lines = []
    for row, column, down, right in passes if interlaced else [(0, 0, 1, 1)]:
        for line in image[row::down, column::right] >> (8 - depth):
            bits = np.unpackbits(line[:, None], axis=1)[:, 8 - depth:]
            lines.append(b"\0" + np.packbits(bits).tobytes())

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    packed = zlib.compress(b"".join(lines[:len(lines) * rows // 28]) + more)
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


def with_chunks(data, *chunks):
    """A PNG with more chunks, (kind, content), between its header and its pixels."""
    packed = (struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)) for kind, content in chunks)
    return data[:33] + b"".join(packed) + data[33:]


@pytest.mark.parametrize("data", [
    with_chunks(grey_png(GREY), (b"tRNS", b"\0\xff")), png(np.full((28, 28, 4), 255, np.uint8)), png(np.zeros((28, 28, 2), np.uint8)),
    with_chunks(png(np.zeros((28, 28), bool)), (b"tRNS", b"\0\1")), png(GREY.astype(np.uint16))])
def test_a_png_whose_pixels_are_not_plain_grey_is_an_error_that_says_what_is_wanted(data):
    with pytest.raises(ValueError, match=r"a.png: .*expected 28×28 pixels in mode L \(8-bit grey\), opaque, white on black, got 28×28 in"):
        parse_images(data, "a.png")


def test_what_a_png_holds_besides_its_pixels_does_not_matter(images):
    profile = b"large\0\0" + zlib.compress(bytes(2**24))
    data = with_chunks(grey_png(images[0]), (b"iCCP", profile), (b"zTXt", profile), (b"prVt", b"anything"))
    data = data.replace(b"prVt", b"prVu")                  # and its checksum is wrong
    np.testing.assert_array_equal(parse_images(data, "a.png"), images[:1])


@pytest.mark.parametrize("more", [b"\0", b"\0" * 100, b"lower case words", grey_png(GREY)])
def test_bytes_behind_a_png_are_an_error(more):
    data = grey_png(GREY)
    with pytest.raises(ValueError, match=f"a.png: not readable as images .expected {len(data)} bytes, got {len(data + more)}"):
        parse_images(data + more, "a.png")


@pytest.mark.parametrize("depth", [4, 8])
@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_with_bytes_behind_its_rows_is_an_error(depth, interlaced, images):
    with pytest.raises(ValueError, match="a.png: not readable as images .expected .* bytes of rows, got others"):
        parse_images(grey_png(images[0], depth, interlaced, more=b"\0"), "a.png")


@pytest.mark.parametrize("change", [lambda packed: packed + zlib.compress(b"another image"), lambda packed: packed[:-1],
                                    lambda packed: packed[:-4] + b"sums"])
def test_packed_rows_that_do_not_end_as_they_should_are_an_error(change):
    data = png(GREY)
    length, kind = struct.unpack(">I4s", data[33:41])
    assert kind == b"IDAT"
    content = change(data[41:41 + length])
    changed = data[:33] + struct.pack(">I4s", len(content), kind) + content + struct.pack(">I", zlib.crc32(kind + content)) + data[-12:]
    with pytest.raises(ValueError, match="a.png: not readable as images .(expected 812 bytes of rows, got others|.*incorrect data check)"):
        parse_images(changed, "a.png")


def test_a_png_without_pixels_is_an_error():
    data = grey_png(GREY)
    with pytest.raises(ValueError, match="a.png: not readable as images .expected 812 bytes of rows, got 0"):
        parse_images(data[:33] + data[-12:], "a.png")


def test_hidden_files_in_a_folder_are_left_out(images, tmp_path):
    write_images(tmp_path / "folder", images)
    (tmp_path / "folder" / "._00.png").write_bytes(b"of another system")
    np.testing.assert_array_equal(read_images(tmp_path / "folder"), images)
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / ".DS_Store").touch()
    write_images(tmp_path / "new", images)


def test_a_folder_that_may_not_be_read_is_an_error_that_says_so(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr(os, "listdir", refuse)
    with pytest.raises(PermissionError):
        read_images(tmp_path)


def test_a_name_that_ends_in_a_slash_is_a_folder(images, tmp_path):
    write_images(f"{tmp_path}/out.v1/", images)
    np.testing.assert_array_equal(read_images(tmp_path / "out.v1"), images)


def test_pickled_objects_are_refused():
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="a.npy: "):
        parse_images(file.getvalue(), "a.npy")


def test_a_folder_without_png_files_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="expected PNG files in this folder, got none"):
        read_images(tmp_path)


def test_no_files_are_an_error():
    with pytest.raises(ValueError, match="expected files or folders of images, got none"):
        read_images()
