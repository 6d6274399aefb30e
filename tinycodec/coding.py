"""Integers <-> bytes: range coding under one Gaussian per latent, by `constriction`.

Range coding (Martin 1979) narrows an interval of [0, 1) by each symbol's probability; any number
inside the last interval names the whole message, and −log₂ of its width is the ideal code length.
`constriction` does the narrowing, in 32-bit words; this file turns its words into bytes and keeps
bad parameters away from it. `GaussianRangeCoder.decode` says what it computes.
"""
from bisect import bisect_left

import constriction
import numpy as np


class GaussianRangeCoder:
    """Codes rows of d integers, the i-th under N(mean_i, std_i²) quantised to integers.

    Integers must lie in [−limit, limit]. Every one of them is given a probability of at least
    2⁻²⁴, so a needlessly wide range costs bits: about 2·limit·1.44·2⁻²⁴ a latent. The methods take
    means that broadcast to (n, d).

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

    def _encoder(self, k, mean):
        k = np.asarray(k)
        if k.ndim != 2 or k.shape[1] != len(self.std) or k.dtype.kind not in "iu":
            raise ValueError(f"expected integers of shape (n, {len(self.std)}), got {k.dtype} {k.shape}")
        if k.size and max(int(k.max()), -int(k.min())) > self.limit:
            raise ValueError(f"expected integers within ±{self.limit}, got {k.min()} to {k.max()}")
        encoder = constriction.stream.queue.RangeEncoder()
        encoder.encode(np.ascontiguousarray(k, np.int32).ravel(), *self._parameters(len(k), mean))
        return encoder

    def encode(self, k, mean):
        """Code k, (n, d) integers, into the shortest byte string that decodes to it.

        A width of 2^−b needs b bits and, on average over how whole bytes fall into the interval,
        4 − 1/ln 2 ≈ 2.56 more. Raises ValueError if k does not fit.
        """
        return _shortest_in_interval(self._encoder(k, mean))

    def decode(self, data, n, mean):
        """Decode n rows, (n, d) int32.

        Wrong bytes mostly decode to wrong integers without a sign: checksums are the container's
        job. Raises ValueError where no encoder can have written them.

        `data` counts as big-endian words of 32 bits, followed by zeros without end. With point = the
        first two words and width = 2⁶⁴ − 1 to begin with, each integer k is

            F(k) = ⌊(2²⁴ − 1 − 2·limit) · (1 + erf((k − ½ − mean)/(std·√2)))/2⌋ + k + limit,
                   but F(−limit) = 0 and F(limit + 1) = 2²⁴
            s = ⌊width/2²⁴⌋;   k is where F(k) ≤ ⌊point/s⌋ < F(k + 1); an error if ⌊point/s⌋ ≥ 2²⁴
            point ← point − s·F(k);   width ← s·(F(k + 1) − F(k))
            if width < 2³²:   point ← 2³²·point + the next word;   width ← 2³²·width

        All these are whole numbers, but float64 inside F's ⌊…⌋, operation by operation as it stands: a
        "better" Φ that is not quite 1 at 8.3 std would derail the decoder. IEEE 754 leaves only erf
        to the implementation, and `constriction` brings its own, compiled into it.
        """
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


def _shortest_in_interval(encoder):
    """The shortest bytes that, as the digits of a number in [0, 1), lie in the encoder's interval."""
    # Numbers here count units of 2^−bits. The encoder's state is the width of its interval and
    # the last 64 bits of its lower end; the bits before those it shares with a number known to
    # be inside, but for a borrow.
    position, (lower, width) = encoder.pos()
    bits = 32 * position + 64
    words = encoder.get_compressed()
    inside = int.from_bytes(words.astype(">u4").tobytes(), "big") << (bits - 32 * len(words))
    lower = inside - (inside - lower) % 2**64

    def first_multiple(m):                               # of 256^−m, in those units
        return -(-lower >> bits - 8 * m) << bits - 8 * m

    m = bisect_left(range(bits // 8 + 1), True, key=lambda m: first_multiple(m) < lower + width)
    return (first_multiple(m) >> bits - 8 * m).to_bytes(m, "big")
