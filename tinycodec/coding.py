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
    """[0, 1) is cut into 2²⁴ equal shares. C(k) is how many belong to integers below k. So k itself
    has C(k + 1) − C(k) of them, and its p is that over 2²⁴.

    Each of the 2·limit + 1 integers in ±limit has one share at least, so that none is impossible.
    The free shares follow the cdf Φ; the end integers take the tails. A decoder needs exactly the
    encoder's shares. Another machine's erf may round differently, and move a share to the next
    integer: rare, but later symbols may then decode wrongly. (constriction brings its own erf.)"""
    if k <= -limit:
        return 0
    if k > limit:
        return 2**24
    cdf = (1 + math.erf((k - 0.5 - mean) / (std * math.sqrt(2)))) / 2       # k's part is k ± ½
    free = 2**24 - (2 * limit + 1)
    return int(free * cdf) + k + limit     # k + limit integers below k, with one share at least


def encode(integers, means, stds, limit):
    """Integers in ±limit, each under N(mean, std²) -> the shortest bytes that name them.

    >>> encode([0, 1, -2], means=[0, 0, 0], stds=[1, 1, 1], limit=20).hex()
    '93'

    (The intervals: [0.309, 0.691), [0.573, 0.666), [0.5739, 0.5795). 0x93/256 = 0.5742 is inside.)

    Floats would run out of digits. So the interval is [low, low + width)/2^bits, in integers: low
    of any length, width below 2⁶⁴. A share, a 2²⁴th of it, is s = width >> 24 wide. Each symbol
    makes width smaller. When it falls below 2³², low and width get 32 binary zeros more, and bits
    grows by 32: the same interval in smaller units, as [0.57, 0.58) is [0.5700, 0.5800). So before
    each symbol s ≥ 2⁸, and rounding s down costs log₂((s + 1)/s) ≤ 0.006 bits a symbol."""
    low, width, bits = 0, 2**64 - 1, 64                    # as good as [0, 1)
    for k, mean, std in zip(map(int, integers), means, stds):
        s = width >> 24                                    # width − 2²⁴ s is left over: nobody's
        low += s * cumulative(k, mean, std, limit)
        width = s * (cumulative(k + 1, mean, std, limit) - cumulative(k, mean, std, limit))
        if width < 2**32:              # once is enough, as width ≥ s ≥ 2⁸
            low, width, bits = low << 32, width << 32, bits + 32
    return shortest_in_interval(low, width, bits)


def decode(data, means, stds, limit):
    """Bytes, as if zeros without end followed them -> as many integers as there are means.

    >>> decode(bytes.fromhex("93"), means=[0, 0, 0], stds=[1, 1, 1], limit=20)
    [0, 1, -2]

    decode needs only the place of the number in the interval, point = number − low. Here it is:

        point     width     point/width            (both in units of 2⁶⁴)
        0.5742    1         0.5742       in 0's part, from 0.309 to 0.691
        0.2657    0.3829    0.6938       in 1's part, from 0.691 to 0.933
        0.0009    0.0926    0.0098       in −2's part, from 0.006 to 0.067

    Share number point // s is k's if C(k) ≤ point // s < C(k + 1). Where low gets 32 zeros, point
    gets the next 32 bits. ValueError for a share of nobody; other wrong bytes decode wrongly."""
    def word(j):                                           # the j-th 32 bits
        return int.from_bytes(data[4 * j:4 * j + 4].ljust(4, b"\0"), "big")

    integers, point, width, i = [], word(0) << 32 | word(1), 2**64 - 1, 2       # next: word 2
    for mean, std in zip(means, stds):
        s = width >> 24
        if point // s >= 2**24:
            raise ValueError("no range encoder under this prior can have written these bytes")
        k = -limit
        while cumulative(k + 1, mean, std, limit) <= point // s:
            k += 1
        integers.append(k)
        point -= s * cumulative(k, mean, std, limit)
        width = s * (cumulative(k + 1, mean, std, limit) - cumulative(k, mean, std, limit))
        if width < 2**32:
            point, width, i = point << 32 | word(i), width << 32, i + 1
    return integers


def shortest_in_interval(low, width, bits):
    """The fewest bytes that, as digits of a number in [0, 1), lie in [low, low + width)/2^bits.

    In 256ths, [0.3, 0.4) is [76.8, 102.4). One byte names it, 77 = 0x4d:

    >>> shortest_in_interval(3 * 2**64 // 10, 2**64 // 10, 64).hex()
    '4d'

    The interval is 2⁻ᴵ wide, I being the information. If 8m ≥ I, multiples of 256⁻ᵐ are no further
    apart than 2⁻ᴵ, so one is inside: m bytes suffice. By luck, m − 1 do, too, or m − 2, …"""
    def first(m):          # the least j with j · 256⁻ᵐ ≥ low/2^bits; −(−a >> n) is ⌈a/2ⁿ⌉
        return -(-low >> (bits - 8 * m))

    def inside(m):         # is that multiple below the upper end?
        return first(m) << (bits - 8 * m) < low + width

    floor_log2 = width.bit_length() - 1
    m = -((floor_log2 - bits) // 8)                        # ⌈I/8⌉. I = bits − log₂ width
    while m and inside(m - 1):
        m -= 1
    return first(m).to_bytes(m, "big")
