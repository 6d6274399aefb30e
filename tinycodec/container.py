"""The file format: a header that says what the range-coded bytes are, and a checksum over all.

    offset  size  field, little-endian
         0     4  magic "tnyc"
         4     1  version, 1
         5     4  number of images
         9     8  fingerprint of the model that decodes them
        17     4  CRC-32 of everything else in the file
        21        the latents of all images, range-coded
"""
import struct
import zlib

MAGIC, VERSION = b"tnyc", 1
HEADER = struct.Struct("<4sBI8s")
CHECKSUM = struct.Struct("<I")


def pack(n, fingerprint, payload):
    """-> bytes, the whole file."""
    header = HEADER.pack(MAGIC, VERSION, n, fingerprint)
    return header + CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(header))) + payload


def unpack(data, fingerprint):
    """-> (number of images, payload). Raises ValueError that says what is wrong with `data`."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"expected bytes, got {type(data).__name__}")
    data = bytes(data)
    if not data.startswith(MAGIC):
        raise ValueError(f"not a tinycodec stream: expected it to begin with {MAGIC}, got {data[:4]}")
    if len(data) < HEADER.size + CHECKSUM.size:
        raise ValueError(f"truncated stream: expected a header of {HEADER.size + CHECKSUM.size} bytes, got {len(data)}")
    _, version, n, written_with = HEADER.unpack_from(data)
    if version != VERSION:
        raise ValueError(f"stream of version {version}: this tinycodec reads version {VERSION}")
    payload = data[HEADER.size + CHECKSUM.size:]
    checksum, = CHECKSUM.unpack_from(data, HEADER.size)
    if checksum != zlib.crc32(payload, zlib.crc32(data[:HEADER.size])):
        raise ValueError("truncated or altered stream: its checksum does not match its bytes")
    if written_with != fingerprint:
        raise ValueError(f"stream written with model {written_with.hex()}, this is model {fingerprint.hex()}")
    return n, payload
