import struct

import pytest

from tinycodec.files import stream as container

FINGERPRINT = b"12345678"
CHUNKS = [b"one chunk", b"", b"another, longer one", b"the last"]
N = 3001


@pytest.fixture
def data():
    return container.pack("dither", 7, N, FINGERPRINT, CHUNKS)


def intact(data):
    """Numbers of the chunks that salvaging finds; they must be what was packed."""
    stream = container.unpack(data, FINGERPRINT, salvage=True)
    assert all(chunk in (None, original) for (_, chunk), original in zip(stream.chunks, CHUNKS))
    return [i for i, (_, chunk) in enumerate(stream.chunks) if chunk is not None]


def test_round_trip(data):
    chunks = list(zip(container.chunk_slices(N), CHUNKS))
    assert container.unpack(data, FINGERPRINT) == ("dither", 7, N, FINGERPRINT, chunks, "")


def test_no_images_are_a_header_and_nothing_else():
    data = container.pack("round", 0, 0, FINGERPRINT, [])
    assert container.unpack(data, FINGERPRINT).n == 0 and len(data) == container.HEADER.size


def test_bytes_behind_no_images_are_not_salvaged_as_nothing(data):
    with pytest.raises(ValueError, match="expected 22 bytes"):
        container.unpack(container.pack("round", 0, 0, FINGERPRINT, []) + data, FINGERPRINT, salvage=True)


def test_every_flipped_bit_is_noticed(data):
    for i in range(8 * len(data)):
        altered = bytearray(data)
        altered[i // 8] ^= 1 << i % 8
        with pytest.raises(ValueError):
            container.unpack(altered, FINGERPRINT)


def test_every_truncation_is_noticed(data):
    for length in range(len(data)):
        with pytest.raises(ValueError):
            container.unpack(data[:length], FINGERPRINT)


def test_bytes_added_are_noticed(data):
    with pytest.raises(ValueError, match=f"expected {len(data)} bytes, got {len(data) + 1}"):
        container.unpack(data + b"\0", FINGERPRINT)


def test_a_flipped_bit_behind_the_header_loses_one_chunk_at_the_most(data):
    for i in range(8 * container.HEADER.size, 8 * len(data)):
        altered = bytearray(data)
        altered[i // 8] ^= 1 << i % 8
        assert len(intact(altered)) == len(CHUNKS) - 1


def test_a_byte_lost_or_added_in_a_chunk_loses_only_that(data):
    begin = data.index(CHUNKS[0])
    for i in range(begin + 1, len(data)):
        assert len(intact(data[:i] + data[i + 1:])) == len(CHUNKS) - 1
        assert len(intact(data[:i] + b"!" + data[i:])) >= len(CHUNKS) - 1


def test_chunks_before_a_truncation_survive(data):
    assert intact(data[:-1]) == [0, 1, 2] and intact(data[:data.index(CHUNKS[2])]) == [0, 1]


def test_chunks_of_another_place_or_another_file_are_damaged(data):
    same_length = [b"chunk A", b"chunk B"]
    good, other = (container.pack("round", seed, 2000, FINGERPRINT, same_length) for seed in (0, 1))
    begin = container.HEADER.size
    entries = good[begin:begin + 8], good[begin + 8:begin + 16]
    for altered in (good[:begin] + entries[1] + entries[0] + b"".join(same_length[::-1]),        # both, and their entries
                    good[:begin + 16] + b"".join(same_length[::-1]), good[:begin] + other[begin:]):
        with pytest.raises(ValueError, match="2 of 2 chunks damaged:"):
            container.unpack(altered, FINGERPRINT, salvage=True)


def test_damaged_chunks_are_named_with_their_images(data):
    i = data.index(CHUNKS[2])
    with pytest.raises(ValueError, match=r"1 of 4 chunks damaged: 2 \(images 2000 to 2999\)"):
        container.unpack(data[:i] + b"!" + data[i + 1:], FINGERPRINT)


def test_of_many_damaged_chunks_ten_are_named():
    chunks = [bytes([i]) for i in range(50)]
    data = container.pack("round", 0, 50_000, FINGERPRINT, chunks)
    damage = container.unpack(data[:-50] + bytes(50), salvage=True).damage         # only the first is a zero
    assert damage.startswith("49 of 50 chunks damaged: 1 (images 1000 to 1999), 2 ") and damage.endswith("10 (images 10000 to 10999) and more")


@pytest.mark.parametrize("data, message", [
    (b"", "not a tinycodec stream"), (b"PK\3\4" + bytes(40), "not a tinycodec stream"), (b"tnyc\2", "and 18 bytes more, got b'tnyc' and 1"),
    (b"tnyc\1" + bytes(40), "version 1: this tinycodec reads version 2"), (b"tnyc\2\2" + bytes(40), "quantizer 2"),
    (b"tnyc\2\0" + bytes(4) + b"\xff" * 4 + bytes(40), "stream of 4294967295 images: expected at most 100000"),
    (b"tnyc\2\0" + bytes(4) + struct.pack("<I", 100_000) + bytes(40), "table of 800 bytes for 100000 images, got 32")])
def test_errors_say_what_is_wrong(data, message):
    with pytest.raises(ValueError, match=message):
        container.unpack(data, FINGERPRINT)


def test_another_model_is_named(data):
    with pytest.raises(ValueError, match=f"written with model {FINGERPRINT.hex()}, this is model {b'87654321'.hex()}"):
        container.unpack(data, b"87654321")


def test_text_is_not_bytes():
    with pytest.raises(TypeError, match="bytes-like object is required, not 'str'"):
        container.unpack("tnyc", FINGERPRINT)


def test_more_images_are_read_if_the_caller_says_so():
    data = container.pack("round", 0, 200_000, FINGERPRINT, [b""] * 200)
    with pytest.raises(ValueError, match="stream of 200000 images: expected at most 100000"):
        container.unpack(data, salvage=True)
    assert container.unpack(data, max_images=200_000).n == 200_000
