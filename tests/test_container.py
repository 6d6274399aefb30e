import pytest

from tinycodec import container

FINGERPRINT = b"12345678"


def test_round_trip():
    assert container.unpack(container.pack("dither", 7, 3, FINGERPRINT, b"payload"), FINGERPRINT) == ("dither", 7, 3, b"payload")


def test_every_flipped_bit_is_noticed():
    data = container.pack("round", 0, 3, FINGERPRINT, b"payload")
    for i in range(8 * len(data)):
        altered = bytearray(data)
        altered[i // 8] ^= 1 << i % 8
        with pytest.raises(ValueError):
            container.unpack(altered, FINGERPRINT)


def test_every_truncation_is_noticed():
    data = container.pack("round", 0, 3, FINGERPRINT, b"payload")
    for length in range(len(data)):
        with pytest.raises(ValueError):
            container.unpack(data[:length], FINGERPRINT)


def test_bytes_added_are_noticed():
    with pytest.raises(ValueError, match="truncated or altered"):
        container.unpack(container.pack("round", 0, 3, FINGERPRINT, b"payload") + b"\0", FINGERPRINT)


@pytest.mark.parametrize("data, message", [
    (b"", "begin with"), (b"PK\3\4" + bytes(40), "not a tinycodec stream"), (b"tnyc\1", "truncated stream"),
    (b"tnyc\2" + bytes(40), "version 2")])
def test_errors_say_what_is_wrong(data, message):
    with pytest.raises(ValueError, match=message):
        container.unpack(data, FINGERPRINT)


def test_an_unknown_quantizer_is_named(monkeypatch):
    monkeypatch.setattr(container, "QUANTIZERS", ("round", "dither", "new"))
    data = container.pack("new", 0, 3, FINGERPRINT, b"")
    monkeypatch.undo()
    with pytest.raises(ValueError, match="quantizer 2"):
        container.unpack(data, FINGERPRINT)


def test_another_model_is_named():
    with pytest.raises(ValueError, match=f"written with model {FINGERPRINT.hex()}"):
        container.unpack(container.pack("round", 0, 3, FINGERPRINT, b""), b"87654321")


def test_text_is_not_bytes():
    with pytest.raises(TypeError, match="expected bytes, got str"):
        container.unpack("tnyc", FINGERPRINT)
