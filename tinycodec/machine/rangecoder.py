"""The range coder that the codec runs: that of `tinycodec.coding`, by `constriction`."""
import constriction
import numpy as np

from ..coding import shortest_in


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
        """Integers (n, d) -> the shortest bytes that decode to them. Raises ValueError if they do not fit."""
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
        return shortest_in((inside - (inside - low) % 2**64, width, bits))

    def decode(self, data, n, mean):
        """Bytes -> n rows, int32 (n, d). Raises ValueError where no encoder can have written them. Other wrong bytes
        decode to wrong integers, and nothing tells: checksums are the file format's job."""
        if not isinstance(data, bytes):
            raise TypeError(f"expected bytes, got {type(data).__name__}")
        words = np.frombuffer(data + bytes(-len(data) % 4), ">u4").astype(np.uint32)
        try:
            decoder = constriction.stream.queue.RangeDecoder(words)
            return decoder.decode(*self._parameters(n, mean)).reshape(n, len(self.std))
        except AssertionError:
            raise ValueError("no range encoder under this prior can have written these bytes") from None

    def encode_each(self, k, mean):
        """Code each row on its own, under one `mean` (d,)."""
        return [self.encode(row[None], mean) for row in k]

    def decode_each(self, strings, mean):
        """The inverse of `encode_each`, int32 (n, d). Raises ValueError for strings that it cannot have written."""
        k = np.array([self.decode(string, 1, mean) for string in strings], np.int32).reshape(len(strings), len(self.std))
        for i, (string, again) in enumerate(zip(strings, self.encode_each(k, mean))):
            if string != again:
                raise ValueError(f"string {i} was not written by compress_each with this model")
        return k

    def sample(self, n, rng, mean):
        """Decode random bits: n rows drawn from the prior, (n, d) int32.

        An entropy decoder turns fair coin flips into symbols of the coded distribution. A stack
        (ANS, Duda 2009) is used since it accepts any bits, where a range decoder refuses some.
        """
        words = rng.integers(0, 2**32, n * len(self.std) + 2, np.uint32)
        coder = constriction.stream.stack.AnsCoder(words, seal=True)
        return coder.decode(*self._parameters(n, mean)).reshape(n, len(self.std))
