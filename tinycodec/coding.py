"""Integers <-> bytes: how does a message of so many bits of information become so many bits?

Range coding (Martin 1979) narrows an interval of [0, 1) symbol by symbol, each time to the share
that has the symbol's probability. With p = ½, ¼, ¼ for a, b, c, the message "bab":

    0                             ½              ¾              1
    ├──────────── a ──────────────┼───── b ──────┼───── c ──────┤   b: [½, ¾)
                                  ├── a ─┼ b ┼ c ┤                  a: [½, ⅝)
                                  ├ a┼b┼c┤                          b: [9⁄16, 19⁄32), of width 2⁻⁵

Any number in the last interval names the message, and −log₂ of its width is the information content.
First the coder by the book, then the same by `constriction`, which is what the codec runs.
"""
import math
from bisect import bisect_left

import constriction
import numpy as np


def cumulative(k, mean, std, limit):
    """F(k) of 2²⁴: the probability of integers below k, where every one from −limit has at least 1.

    Step by step in float64: another Φ, not quite 1 at 8.3 std, would derail the decoder.
    """
    if not -limit < k <= limit:
        return 2**24 * (k > limit)
    cdf = (1 + math.erf((k - 0.5 - mean) / (std * math.sqrt(2)))) / 2
    return int((2**24 - 1 - 2 * limit) * cdf) + k + limit


def encode_by_the_book(integers, means, stds, limit):
    """Integers in ±limit, under N(mean, std²) each -> bytes.

    The interval is [low, low + width) in units of 2^−bits. Where width becomes small, all three
    grow by 32 bits. Python's integers have no end, so no carry needs care.
    """
    low, width, bits = 0, 2**64 - 1, 64
    for k, *model in zip(integers, means, stds):
        s = width >> 24                                    # the width of one of 2²⁴ shares
        low += s * cumulative(k, *model, limit)
        width = s * (cumulative(k + 1, *model, limit) - cumulative(k, *model, limit))
        if width < 2**32:
            low, width, bits = low << 32, width << 32, bits + 32
    return shortest_in_interval(low, width, bits)


def decode_by_the_book(data, means, stds, limit):
    """Bytes, as if zeros without end followed them -> integers, as many as there are means."""
    def word(i):                                           # the i-th 32 bits
        return int.from_bytes(data[4 * i:4 * i + 4].ljust(4, b"\0"), "big")

    integers, point, width, i = [], word(0) << 32 | word(1), 2**64 - 1, 2      # point: above low
    for model in zip(means, stds):
        s = width >> 24
        if point // s >= 2**24:
            raise ValueError("no range encoder under this prior can have written these bytes")
        # The last k with F(k) ≤ point/s; F grows.
        k = bisect_left(range(-limit, limit + 1), True,
                        key=lambda k: cumulative(k + 1, *model, limit) > point // s) - limit
        point -= s * cumulative(k, *model, limit)
        width = s * (cumulative(k + 1, *model, limit) - cumulative(k, *model, limit))
        if width < 2**32:
            point, width, i = point << 32 | word(i), width << 32, i + 1
        integers.append(k)
    return integers


def shortest_in_interval(low, width, bits):
    """The fewest bytes that, as digits of a number in [0, 1), lie in [low, low + width)/2^bits.

    [0.3, 0.4) holds 77/256 = 0.3008, so one byte names it, 77 = 0x4d:

    >>> shortest_in_interval(3 * 2**64 // 10, 2**64 // 10, 64).hex()
    '4d'

    A multiple of 256⁻ᵐ is one of 256^−(m + 1), too: once m bytes suffice, more do, so bisection
    finds the fewest. How many? Let the width be 2⁻ᵇ and 8m = b + f with 0 ≤ f < 8. Then m bytes
    suffice, and m − j do with probability 2^(f − 8j). With f as likely anywhere, 8m is on average
    b + 4 bits, less Σⱼ 8·2^(f − 8j), whose mean is 1/ln 2: b + 4 − 1/ln 2 = b + 2.56, at high rates.
    """
    def first_multiple(m):                                 # of 256⁻ᵐ, not below low
        return -(-low >> bits - 8 * m)

    m = bisect_left(range(bits // 8 + 1), True,
                    key=lambda m: first_multiple(m) << bits - 8 * m < low + width)
    return first_multiple(m).to_bytes(m, "big")


class GaussianRangeCoder:
    """Codes rows of d integers, the i-th under N(mean_i, std_i²), by `constriction`.

    Integers must lie in ±limit. Each has a probability of at least 2⁻²⁴, so a needlessly wide range
    costs bits: about 2·limit·1.44·2⁻²⁴ a latent. A mean broadcasts to (n, d).

    >>> coder = GaussianRangeCoder([0.1, 20.0], limit=100)
    >>> data = coder.encode(np.array([[0, 7], [0, -9], [1, 30]]), mean=[0.0, 3.5])
    >>> coder.decode(data, 3, mean=[0.0, 3.5]).tolist()
    [[0, 7], [0, -9], [1, 30]]
    """

    def __init__(self, std, limit):
        # constriction panics on bad parameters, and a panic is not an Exception.
        self.std = np.asarray(std, np.float64)
        if self.std.ndim != 1 or not (np.isfinite(self.std).all() and (self.std > 0).all()):
            raise ValueError("expected std of shape (d,), finite and positive for every latent")
        if not 1 <= limit < 2**22:
            raise ValueError(f"expected a limit from 1 to 2**22 - 1, got {limit}")
        self.limit = limit
        self.model = constriction.stream.model.QuantizedGaussian(-limit, limit)

    def _parameters(self, n, mean):
        shape = n, len(self.std)
        mean = np.broadcast_to(np.asarray(mean, np.float64), shape)
        if not np.isfinite(mean).all():
            raise ValueError("expected a finite mean for every latent")
        return self.model, mean.ravel(), np.broadcast_to(self.std, shape).ravel()

    def encode(self, k, mean):
        """(n, d) integers -> the shortest bytes that decode to them. ValueError if they don't fit."""
        k = np.asarray(k)
        if k.ndim != 2 or k.shape[1] != len(self.std) or k.dtype.kind not in "iu":
            raise ValueError(f"expected integers (n, {len(self.std)}), got {k.dtype} {k.shape}")
        if k.size and max(int(k.max()), -int(k.min())) > self.limit:
            raise ValueError(f"expected integers within ±{self.limit}, got {k.min()} to {k.max()}")
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.ascontiguousarray(k, np.int32).ravel(), *self._parameters(len(k), mean))
        # It tells its width and the last 64 bits of low; a number inside tells the bits before.
        position, (low, width) = encoder.pos()
        words, bits = encoder.get_compressed(), 32 * position + 64
        inside = int.from_bytes(words.astype(">u4").tobytes(), "big") << bits - 32 * len(words)
        return shortest_in_interval(inside - (inside - low) % 2**64, width, bits)

    def decode(self, data, n, mean):
        """Bytes -> n rows, (n, d) int32. ValueError where no encoder can have written them; but wrong
        bytes mostly decode to wrong integers without a sign: checksums are the file format's job."""
        words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
        try:
            decoder = constriction.stream.queue.RangeDecoder(words)
            return decoder.decode(*self._parameters(n, mean)).reshape(n, len(self.std))
        except AssertionError:
            raise ValueError("no range encoder under this prior can have written these bytes") from None

    def encode_each(self, k, mean):
        """Code each row on its own, under one `mean` (d,)."""
        return [self.encode(row[None], mean) for row in k]

    def sample(self, n, rng, mean):
        """Decode random bits: n rows drawn from the prior, (n, d) int32.

        An entropy decoder turns fair coin flips into symbols of the coded distribution. A stack
        (ANS, Duda 2009) is used since it accepts any bits, where a range decoder refuses some.
        """
        words = rng.integers(0, 2**32, n * len(self.std) + 2, np.uint32)
        coder = constriction.stream.stack.AnsCoder(words, seal=True)
        return coder.decode(*self._parameters(n, mean)).reshape(n, len(self.std))
