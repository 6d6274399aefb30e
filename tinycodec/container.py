"""The file format: a header that says what the range-coded bytes are, and a checksum over all.

    offset  size  field, little-endian
         0     4  magic "tnyc"
         4     1  version, 1
         5     1  quantizer: 0 "round", 1 "dither"
         6     4  seed of the dither
        10     4  number of images
        14     8  fingerprint of the model that decodes them
        22     4  CRC-32 of everything else in the file
        26        the integers of all images, range-coded
"""
import struct
import zlib

MAGIC, VERSION, QUANTIZERS = b"tnyc", 1, ("round", "dither")
HEADER = struct.Struct("<4sBBII8s")
CHECKSUM = struct.Struct("<I")


def pack(quantizer, seed, n, fingerprint, payload):
    """-> bytes, the whole file."""
    header = HEADER.pack(MAGIC, VERSION, QUANTIZERS.index(quantizer), seed, n, fingerprint)
    return header + CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(header))) + payload


def unpack(data, fingerprint):
    """-> (quantizer, seed, number of images, payload). Raises ValueError that says what is wrong with `data`."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected bytes, got {type(data).__name__}")
    data = bytes(data)
    if not data.startswith(MAGIC):
        raise ValueError(f"not a tinycodec stream: expected it to begin with {MAGIC}, got {data[:4]}")
    if len(data) < HEADER.size + CHECKSUM.size:
        raise ValueError(f"truncated stream: expected a header of {HEADER.size + CHECKSUM.size} bytes, got {len(data)}")
    _, version, quantizer, seed, n, written_with = HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"stream of version {version}: this tinycodec reads version {VERSION}")
    payload = data[HEADER.size + CHECKSUM.size:]
    checksum, = CHECKSUM.unpack_from(data, HEADER.size)
    if checksum != zlib.crc32(payload, zlib.crc32(data[:HEADER.size])):
        raise ValueError("truncated or altered stream: its checksum does not match its bytes")
    if quantizer >= len(QUANTIZERS):
        raise ValueError(f"stream of quantizer {quantizer}: this tinycodec knows {', '.join(QUANTIZERS)}")
    if written_with != fingerprint:
        raise ValueError(f"stream written with model {written_with.hex()}, this is model {fingerprint.hex()}")
    return QUANTIZERS[quantizer], seed, n, payload
