"""Integers <-> bytes: how does a message of 38 bits of information become 5 bytes?

Range coding (Martin 1979) narrows an interval, at first [0, 1), symbol by symbol, each time to a
part p times as wide, for a symbol of probability p. With p = ½, ¼, ¼ for a, b, c, this is "bab":

    0                             ½              ¾              1
    ├──────────── a ──────────────┼───── b ──────┼───── c ──────┤   b: [½, ¾)
                                  ├── a ─┼ b ┼ c ┤                  a: [½, ⅝)
                                  ├ a┼b┼c┤                          b: [9⁄16, 19⁄32), 2⁻⁵ wide

Any number in the last interval names the message; here one byte does, 0x90 = 144/256 = 9⁄16. The
width is the product of the p: its −log₂ is the information. (The decoder knows the length, 3.)"""
import math


def cumulative(k, mean, std, limit):
    """An interval is cut into 2²⁴ shares of one width. C(k) of them belong to integers below k.

    So k itself has C(k + 1) − C(k) shares, and its p is that over 2²⁴. Each integer in ±limit gets
    one share, so that none is impossible. The others follow the cdf Φ: k gets what N(mean, std²)
    has in k ± ½, and −limit and limit also get what is beyond them."""
    if k <= -limit:
        return 0
    if k > limit:
        return 2**24
    cdf = (1 + math.erf((k - 0.5 - mean) / (std * math.sqrt(2)))) / 2      # Φ((k − ½ − mean)/std)
    others = 2**24 - (2 * limit + 1)
    return int(others * cdf) + (k + limit)     # k + limit integers below k, with one share each


def part(interval, k, mean, std, limit):
    """k's part of an interval. It begins C(k) shares from the left, and is C(k + 1) − C(k) wide.

    Floats would run out of digits. So an interval is [low, low + width)/2^bits, in integers, as
    [0.57, 0.58) is [57, 58)/10². A share is width/2²⁴, rounded down. (What remains on the right is
    no integer's part.) Parts are narrower and narrower. When width falls below 2³², the interval is
    written with 32 binary digits more, as [57, 58)/10² is [5700, 5800)/10⁴. So a share is never
    below 2⁸, and rounding takes less than 2⁻⁸ of it: 0.006 bits an integer. width is always below
    2⁶⁴. (Python's integers may be longer, but those of constriction, in `Codec`, have 64 bits.)"""
    low, width, bits = interval
    share = width >> 24
    low += share * cumulative(k, mean, std, limit)
    width = share * (cumulative(k + 1, mean, std, limit) - cumulative(k, mean, std, limit))
    if width < 2**32:                          # once is enough, as width ≥ share ≥ 2⁸
        low, width, bits = low << 32, width << 32, bits + 32
    return low, width, bits


WHOLE = 0, 2**64 - 1, 64                       # [0, 1), less 2⁻⁶⁴ so that width is below 2⁶⁴


def encode(integers, means, stds, limit):
    """Integers in ±limit, each under N(mean, std²) -> the shortest bytes that name them.

    >>> encode([0, 1, -2], means=[0, 0, 0], stds=[1, 1, 1], limit=20).hex()
    '93'

    The intervals are [0.309, 0.691), [0.573, 0.666), [0.5739, 0.5795). 0x93/256 is 0.5742."""
    interval = WHOLE
    for k, mean, std in zip(map(int, integers), means, stds):
        interval = part(interval, k, mean, std, limit)
    return shortest_in(interval)


def decode(data, means, stds, limit):
    """Bytes, as if zeros without end followed them -> as many integers as there are means.

    >>> decode(bytes.fromhex("93"), means=[0, 0, 0], stds=[1, 1, 1], limit=20)
    [0, 1, -2]

    The number, 0x93/256 = 0.5742, is in 0's part of [0, 1): [0.309, 0.691). So the first integer is
    0. Of this interval it is in 1's part, [0.573, 0.666), and of that in −2's, [0.5739, 0.5795).

    ValueError if it is in no integer's part. Other wrong bytes decode to wrong integers. (Where low
    gets 32 digits more, number gets the next 32 of the data: both are over 2^bits.)"""
    interval, integers = WHOLE, []
    for mean, std in zip(means, stds):
        low, width, bits = interval
        number = int.from_bytes(data[:bits // 8].ljust(bits // 8, b"\0"), "big")      # over 2^bits
        index = (number - low) // (width >> 24)            # which share it is in: 0, 1, …
        if index >= 2**24:
            raise ValueError("no range encoder under this prior can have written these bytes")
        k = -limit
        while cumulative(k + 1, mean, std, limit) <= index:
            k += 1
        integers.append(k)
        interval = part(interval, k, mean, std, limit)
    return integers


def shortest_in(interval):
    """The fewest bytes that, as digits after the point in base 256, are a number in the interval.

    m bytes make a multiple of 256⁻ᵐ. If any of these is inside, the lower end rounded up to one is.
    So try fewer and fewer bytes, as long as it is. In 256ths, [0.3, 0.4) is [76.8, 102.4). 77 is
    inside: one byte. No byte would make a multiple of 1, and 0.3 rounded up to one is 1, outside.

    >>> shortest_in((3 * 2**64 // 10, 2**64 // 10, 64)).hex()
    '4d'"""
    low, width, bits = interval
    for m in range(bits // 8, -1, -1):
        unit = 2**(bits - 8 * m)                           # 256⁻ᵐ, times 2^bits
        rounded_up = (low + unit - 1) // unit
        if rounded_up * unit >= low + width:
            break
        shortest = rounded_up.to_bytes(m, "big")
    return shortest
