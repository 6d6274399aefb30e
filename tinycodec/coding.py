"""Integers <-> bytes: how does a message of b bits of information become about b bits?

Range coding (Martin 1979) narrows an interval of [0, 1) symbol by symbol, each time to the share
that has the symbol's probability. With p = ½, ¼, ¼ for a, b, c, the message "bab":

    0                             ½              ¾              1
    ├──────────── a ──────────────┼───── b ──────┼───── c ──────┤   b: [½, ¾)
                                  ├── a ─┼ b ┼ c ┤                  a: [½, ⅝)
                                  ├ a┼b┼c┤                          b: [9⁄16, 19⁄32), 2⁻⁵ wide

Any number in the last interval names the message; here one byte does, 0x90 = 144/256 = 9⁄16. The
−log₂ of the width is the information. The codec runs the same coder by `constriction`, to the
same bytes (machine/rangecoder.py).
"""
import math
from bisect import bisect_left


def cumulative(k, mean, std, limit):
    """F(k)/2²⁴: the probability of an integer below k, where each in ±limit has at least 2⁻²⁴.

    All decoders need these very integers, so this is computed as it stands: another formula for Φ
    may round to another integer. (`constriction` brings its own erf, the same on every machine.)
    """
    if not -limit < k <= limit:
        return 2**24 * (k > limit)
    cdf = (1 + math.erf((k - 0.5 - mean) / (std * math.sqrt(2)))) / 2
    return int((2**24 - 1 - 2 * limit) * cdf) + k + limit


def encode(integers, means, stds, limit):
    """Integers in ±limit, each under N(mean, std²) -> the shortest bytes that name them.

    The interval is [low, low + width), in units of 2^−bits. Where width gets small, 32 bits are
    added to all. Python's integers are unbounded, so carries need no care.
    """
    low, width, bits = 0, 2**64 - 1, 64
    for k, *model in zip(integers, means, stds):
        s = width >> 24                                    # one of 2²⁴ shares
        low += s * cumulative(k, *model, limit)
        width = s * (cumulative(k + 1, *model, limit) - cumulative(k, *model, limit))
        if width < 2**32:
            low, width, bits = low << 32, width << 32, bits + 32
    return shortest_in_interval(low, width, bits)


def decode(data, means, stds, limit):
    """Bytes, as if zeros without end followed them -> as many integers as there are means.

    `point` is how far the number that the bytes name lies above low. ValueError if no encoder
    can have written them; other wrong bytes decode to wrong integers, and nothing tells.
    """
    def word(i):                                           # the i-th 32 bits
        return int.from_bytes(data[4 * i:4 * i + 4].ljust(4, b"\0"), "big")

    integers, point, width, i = [], word(0) << 32 | word(1), 2**64 - 1, 2
    for model in zip(means, stds):
        s = width >> 24
        if point // s >= 2**24:
            raise ValueError("no range encoder under this prior can have written these bytes")
        k = -limit
        while cumulative(k + 1, *model, limit) <= point // s:
            k += 1
        integers.append(k)
        point -= s * cumulative(k, *model, limit)
        width = s * (cumulative(k + 1, *model, limit) - cumulative(k, *model, limit))
        if width < 2**32:
            point, width, i = point << 32 | word(i), width << 32, i + 1
    return integers


def shortest_in_interval(low, width, bits):
    """The fewest bytes that, as digits of a number in [0, 1), lie in [low, low + width)/2^bits.

    [0.3, 0.4) holds 77/256 = 0.3008, so one byte names it, 77 = 0x4d:

    >>> shortest_in_interval(3 * 2**64 // 10, 2**64 // 10, 64).hex()
    '4d'

    A multiple of 256⁻ᵐ is one of 256^−(m + 1), too: once m bytes suffice, more do, so bisection
    finds the fewest. How many? Let the width be 2⁻ᵇ, and m the least with 256⁻ᵐ ≤ 2⁻ᵇ: 8m = b + f,
    0 ≤ f < 8. Then m bytes suffice; if low is random, m − j do with probability 2^(f − 8j), j ≥ 1.
    If f is as likely anywhere (b is large), 8m is b + 4 on average, less Σⱼ 8·2^(f − 8j), whose
    mean is 1/ln 2: b + 4 − 1/ln 2 = b + 2.56 bits.
    """
    def first_multiple(m):                                 # of 256⁻ᵐ, not below low
        return -(-low >> bits - 8 * m)

    m = bisect_left(range(bits // 8 + 1), True,
                    key=lambda m: first_multiple(m) << bits - 8 * m < low + width)
    return first_multiple(m).to_bytes(m, "big")
