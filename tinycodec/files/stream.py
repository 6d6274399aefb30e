"""The stream format: a header, a table, and chunks of 1,000 images that are decoded independently.

    offset  size  field, all numbers little-endian and unsigned
         0     4  magic "tnyc"
         4     1  version, 2
         5     1  quantizer: 0 "round", 1 "dither"
         6     4  seed of the dither
        10     4  n, the number of images
        14     8  fingerprint of the model that decodes them (checkpoint.fingerprint)
        22   8·c  for each of the c = ⌈n/1000⌉ chunks: its length in bytes, 4, and its CRC-32, 4
    22+8·c        the chunks, one after another

Chunk i holds the images 1000·i, 1000·i + 1, …, up to 1,000 of them: their integers k, image by image and
latent by latent, range-coded as `coding.decode` does, with mean −u (k is ŷ − μ − u, and ŷ has
mean μ), the model's σ (prior.sigma in its file, float64, one for each of the d latents) and
limit = ⌈min(16 + 16·max σ, 2²⁰)⌉. From k the decoder makes
ŷ = k + (μ + u) in float32 (μ is prior.mu), and the image g_s(ŷ), see model.py. With "round"
u is 0; with "dither" it is (r >> 40)/2²⁴ − ½, where r are the raw 64-bit outputs of NumPy's PCG64(seed),
one for each latent of each image in the same order; chunk i begins with output 1000·i·d.

The CRC-32 of chunk i is over the header, i as 4 bytes, and the chunk. So a chunk swapped, repeated or from
another file counts as damaged, and one intact chunk vouches for the header. (A stream of no images has no
checksum.) One injury behind the table loses one chunk: where bytes were lost or added, the chunks behind that
are where they should be, if one counts from the end of the file. A reader refuses other versions and
quantizers, and bytes behind the last chunk.
"""
import math
import struct
import zlib
from typing import NamedTuple

import numpy as np

from ..machine.checks import check_images
from .checkpoint import fingerprint

MAGIC, VERSION, QUANTIZERS, CHUNK = b"tnyc", 2, ("round", "dither"), 1000
MAX_IMAGES = 100_000           # more in one stream are refused, unless the caller allows them
HEADER = struct.Struct("<4sBBII8s")
ENTRY = struct.Struct("<II")


class Stream(NamedTuple):
    quantizer: str
    seed: int
    n: int
    fingerprint: bytes
    chunks: list                # of (slice of the images, bytes, or None where damaged)
    damage: str                 # all of it in words, or ""

    @property
    def lost(self):
        """Indices of the images in damaged chunks."""
        return [i for part, chunk in self.chunks if chunk is None for i in range(part.start, part.stop)]


def write(codec, images, quantizer, seed, lmbda, refine):
    """As Codec.compress -> bytes, the whole stream."""
    if quantizer not in QUANTIZERS:
        raise ValueError(f"expected quantizer 'round' or 'dither', got {quantizer!r}")
    if not (isinstance(seed, (int, np.integer)) and 0 <= seed < 2**32):
        raise ValueError(f"expected a seed, an integer from 0 to 2**32 - 1, got {seed!r}")
    images = check_images(images)
    u = dither(quantizer, seed, (len(images), codec.latent_dims))
    k, coder = codec.integers(images, u, lmbda, refine), codec.range_coder()
    chunks = [coder.encode(k[part], -u[part]) for part in chunk_slices(len(k))]
    return pack(quantizer, seed, len(k), fingerprint(codec), chunks)


def dither(quantizer, seed, shape):
    """-> u, float32: 0, or multiples of 2⁻²⁴, the same on every machine."""
    if quantizer == "round":
        return np.zeros(shape, np.float32)
    raw = np.random.PCG64(seed).random_raw(math.prod(shape)).reshape(shape)
    return ((raw >> 40) / 2**24 - 0.5).astype(np.float32)


def latents(codec, stream):
    """-> ŷ of a Stream's images, float32 (n, latent_dims); of lost ones, the mode."""
    coder, u = codec.range_coder(), dither(stream.quantizer, stream.seed, (stream.n, codec.latent_dims))
    k = np.zeros(u.shape, np.int32)
    for part, chunk in stream.chunks:
        if chunk is not None:
            k[part] = coder.decode(chunk, part.stop - part.start, -u[part])
    return codec.dequantise(k, u)


def read(codec, data, max_images=MAX_IMAGES, salvage=False):
    """Bytes -> (images, Stream): uint8 (n, 28, 28), black where lost. Raises what `unpack` raises."""
    stream = unpack(data, fingerprint(codec), salvage, max_images)
    images = codec.synthesis(latents(codec, stream))
    images[stream.lost] = 0
    return images, stream


def chunk_slices(n):
    """-> [slice]: which of n images each chunk holds."""
    return [slice(i, min(i + CHUNK, n)) for i in range(0, n, CHUNK)]


def pack(quantizer, seed, n, fingerprint, chunks):
    """-> bytes, the whole file. `chunks` has the coded integers of the images in each of `chunk_slices(n)`."""
    header = HEADER.pack(MAGIC, VERSION, QUANTIZERS.index(quantizer), seed, n, fingerprint)
    table = [ENTRY.pack(len(chunk), _checksum(header, i, chunk)) for i, chunk in enumerate(chunks)]
    return b"".join([header, *table, *chunks])


def unpack(data, model=None, salvage=False, max_images=MAX_IMAGES):
    """Bytes -> Stream. Raises ValueError that says what is wrong with them; `salvage` forgives damage that
    leaves at least one chunk. `model`, if given, is the fingerprint of the one that is to decode them."""
    data = bytes(memoryview(data))             # or TypeError
    if not data.startswith(MAGIC) or len(data) < HEADER.size:
        raise ValueError(f"not a tinycodec stream: expected {MAGIC} and {HEADER.size - 4} bytes more, "
                         f"got {data[:4]} and {len(data[4:])}")
    header = data[:HEADER.size]
    _, version, quantizer, seed, n, written_with = HEADER.unpack(header)
    if version != VERSION:
        raise ValueError(f"stream of version {version}: this tinycodec reads version {VERSION}")
    if quantizer >= len(QUANTIZERS):
        raise ValueError(f"stream of quantizer {quantizer}: this tinycodec knows {', '.join(QUANTIZERS)}; or its header is damaged")
    if n > max_images:
        raise ValueError(f"stream of {n} images: expected at most {max_images}; max_images (--max-images) may allow more")
    begin = HEADER.size + ENTRY.size * -(-n // CHUNK)
    if len(data) < begin:
        raise ValueError(f"truncated or altered stream: expected a table of {begin - HEADER.size} bytes for {n} images, "
                         f"got {len(data) - HEADER.size}")
    table = list(ENTRY.iter_unpack(data[HEADER.size:begin]))
    surplus = len(data) - begin - sum(length for length, _ in table)

    chunks = []
    for i, (part, (length, checksum)) in enumerate(zip(chunk_slices(n), table)):
        places = (data[start:start + length] for start in (begin, begin + surplus) if 0 <= start <= len(data) - length)
        chunks.append((part, next((chunk for chunk in places if _checksum(header, i, chunk) == checksum), None)))
        begin += length
    lost = [f"{i} (images {part.start} to {part.stop - 1})" for i, (part, chunk) in enumerate(chunks) if chunk is None]
    damage = f"expected {len(data) - surplus} bytes, got {len(data)}" if surplus else ""
    if lost:
        damage = f"{len(lost)} of {len(chunks)} chunks damaged: {', '.join(lost[:10])}{' and more' * (len(lost) > 10)}"
    if damage and (not salvage or len(lost) == len(chunks)):
        raise ValueError(f"truncated or altered stream: {damage}")
    if model not in (None, written_with):
        raise ValueError(f"stream written with model {written_with.hex()}, this is model {model.hex()}")
    return Stream(QUANTIZERS[quantizer], seed, n, written_with, chunks, damage)


def _checksum(header, i, chunk):
    return zlib.crc32(chunk, zlib.crc32(header + struct.pack("<I", i)))
