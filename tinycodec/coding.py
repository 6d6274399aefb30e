"""Integers <-> bytes: how does a message of 38 bits of information become 5 bytes?

Range coding (Martin 1979) narrows an interval, at first [0, 1), symbol by symbol, each time to a
part p times as wide, for a symbol of probability p. With p = ½, ¼, ¼ for a, b, c, this is "bab":

    0                             ½              ¾              1
    ├──────────── a ──────────────┼───── b ──────┼───── c ──────┤   b: [½, ¾)
                                  ├── a ─┼ b ┼ c ┤                  a: [½, ⅝)
                                  ├ a┼b┼c┤                          b: [9⁄16, 19⁄32), 2⁻⁵ wide

Any number in the last interval names the message; here one byte does, 0x90 = 144/256 = 9⁄16. The
width is the product of the p: its −log₂ is the information. If 2⁻ⁿ ≤ width, a multiple of 2⁻ⁿ is
inside, and n binary digits write it: 38 bits fit in 5 bytes. (The decoder knows: 3 symbols.)"""
import math

WHOLE = 0, 2**64 - 1, 64     # (low, width, digits), see `part`: nearly [0, 1), as in constriction


def cumulative(k, mean, std, limit):
    """-> C(k). An interval is cut into 2²⁴ equal shares, and integers below k have C(k) of them.

    So k itself has C(k + 1) − C(k) shares, and its p is (C(k + 1) − C(k))/2²⁴. Each integer in
    ±limit gets one share, so that none is impossible. The remaining shares are dealt out by the cdf
    Φ: k gets what N(mean, std²) has in k ± ½; −limit and limit also get the tails."""
    if k <= -limit:
        return 0
    if k > limit:
        return 2**24
    cdf = (1 + math.erf((k - 0.5 - mean) / (std * math.sqrt(2)))) / 2      # Φ((k − ½ − mean)/std)
    remaining = 2**24 - (2 * limit + 1)
    return int(remaining * cdf) + (k + limit)  # k + limit integers below k, with one share each


def part(interval, k, mean, std, limit):
    """k's part of an interval. It begins C(k) shares from the left, and is C(k + 1) − C(k) wide.

    Floats would run out of digits. So an interval is [low, low + width)/2^digits, in integers, as
    [0.57, 0.58) is [57, 58)/10². A share is width/2²⁴, rounded down. What remains on the right is
    no integer's part.

    Each step lowers width. When it falls below 2³², the interval is written with 32 binary digits
    more, as [57, 58)/10² is [5700, 5800)/10⁴. So width stays between 2³² and 2⁶⁴, a share is at
    least 2⁸, and rounding it down costs at most log₂(1 + 2⁻⁸) = 0.006 bits an integer. Only low
    gets longer and longer. (In constriction, width is a 64-bit word, and low is output early.)"""
    low, width, digits = interval
    share = width >> 24
    low += share * cumulative(k, mean, std, limit)
    width = share * (cumulative(k + 1, mean, std, limit) - cumulative(k, mean, std, limit))
    if width < 2**32:                          # once is enough, as width ≥ share ≥ 2⁸
        low, width, digits = low << 32, width << 32, digits + 32
    return low, width, digits


def encode(integers, means, stds, limit):
    """Integers in ±limit, each under N(mean, std²) -> the shortest bytes that name them.

    >>> encode([0, 1, -2], means=[0, 0, 0], stds=[1, 1, 1], limit=20).hex()
    '93'

    The intervals are [0.309, 0.691), [0.573, 0.666), [0.5739, 0.5795). 0x93/256 is 0.5742."""
    interval, limit = WHOLE, int(limit)        # Python's integers, as NumPy's overflow
    for k, mean, std in zip(map(int, integers), means, stds, strict=True):
        if abs(k) > limit:
            raise ValueError(f"expected integers in ±{limit}, got {k}")
        interval = part(interval, k, mean, std, limit)
    return shortest_in(interval)


def decode(data, means, stds, limit):
    """Bytes, as if zeros without end followed them -> as many integers as there are means.

    >>> decode(bytes.fromhex("93"), means=[0, 0, 0], stds=[1, 1, 1], limit=20)
    [0, 1, -2]

    0x93/256 = 0.5742 is in 0's part of [0, 1), then in 1's part of that, then in −2's part of that.
    ValueError if the number is in no integer's part. Other wrong bytes decode to wrong integers."""
    interval, integers, limit = WHOLE, [], int(limit)
    for mean, std in zip(means, stds, strict=True):
        low, width, digits = interval
        # number/2^digits is the data, rounded down. As low and the shares are whole numbers, the
        # fraction that is cut off cannot lead into another share.
        number = int.from_bytes(data[:digits // 8].ljust(digits // 8, b"\0"), "big")
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
    """The fewest bytes that, as a fraction in base 256, are in the interval.

    m bytes make a multiple of 256⁻ᵐ. If any of these is inside, the first at or above low is. So
    lower m as long as a multiple is inside. In 256ths, [0.3, 0.4) is [76.8, 102.4), and 77 is
    inside: one byte. (No byte at all means 0, which is outside.)

    >>> shortest_in((3 * 2**64 // 10, 2**64 // 10, 64)).hex()
    '4d'"""
    low, width, digits = interval
    for m in range(digits // 8, -1, -1):
        unit = 2**(digits - 8 * m)                         # 256⁻ᵐ, times 2^digits
        rounded_up = (low + unit - 1) // unit
        if rounded_up * unit >= low + width:
            break
        shortest = rounded_up.to_bytes(m, "big")
    return shortest
