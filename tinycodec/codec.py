"""Codec: images -> latents -> integers -> bytes, and back.

The analysis transform g_a maps an image x to latents y, the synthesis transform g_s maps them
back (Ballé, Laparra & Simoncelli 2017). Between them stands one idea with one parameter, an offset
o per latent: k = round(y − o) is what is coded, under the prior shifted alike, N(μ − o, σ²), and
ŷ = k + o is what is synthesised.

    quantizer "round"    o = μ: the most probable value of a latent is one it can take
    quantizer "dither"   o = μ + u with pseudo-random u ~ U(−½, ½) that the decoder makes again

With dither ŷ − y is uniform noise whatever y is, as in training: this is universal quantisation
(Ziv 1985; Agustsson & Theis 2020, "Universally quantized neural compression").
"""
import hashlib
import io
import math

import numpy as np

from .files import stream as container
from .files.safe import open_archive, read_array, read_file, write_file
from .entropy import NoisyGaussian
from .images import as_images, as_pixels, check_images
from .layers import Conv2D, ConvTranspose2D, Dense, LeakyReLU, Reshape, Sequential
from .machine import default_threads, parallel_map
from .coding import GaussianRangeCoder
from .search import refine_integers


class Codec:
    """A learned codec of 28×28 grey images with `latent_dims` latents, untrained (see `train`)."""

    def __init__(self, latent_dims=50, seed=0):
        if not (isinstance(latent_dims, (int, np.integer)) and 1 <= latent_dims <= 10_000):
            raise ValueError(f"expected latent_dims, an integer from 1 to 10000, got {latent_dims!r}")
        rng = np.random.default_rng(seed)
        self.latent_dims = int(latent_dims)
        self.g_a = Sequential(                                     # (28, 1, 28, n)
            Conv2D(1, 20, 5, 2, rng), LeakyReLU(),                 # (14, 20, 14, n)
            Conv2D(20, 50, 5, 2, rng), LeakyReLU(),                # (7, 50, 7, n)
            Reshape(2450), Dense(2450, 500, rng), LeakyReLU(),     # (500, n)
            Dense(500, self.latent_dims, rng))                     # (latent_dims, n)
        self.g_s = Sequential(                                     # and the same way back
            Dense(self.latent_dims, 500, rng), LeakyReLU(),
            Dense(500, 2450, rng), LeakyReLU(), Reshape(7, 50, 7),
            ConvTranspose2D(50, 20, 5, 2, rng), LeakyReLU(),
            ConvTranspose2D(20, 1, 5, 2, rng), LeakyReLU())
        self.prior = NoisyGaussian(self.latent_dims)
        self.parts = {"g_a": self.g_a, "g_s": self.g_s, "prior": self.prior}
        self._log_sigma, self._sigma = np.zeros(0), np.zeros(0)    # see the property `sigma`

    # --- transforms ---

    def analysis(self, images):
        """uint8 (n, 28, 28) -> latents before rounding, float32 (n, latent_dims)."""
        return _in_batches(lambda batch: self.g_a.forward(as_pixels(batch))[0].T, check_images(images))

    def synthesis(self, y_hat):
        """Latents (n, latent_dims) -> uint8 (n, 28, 28)."""
        y_hat = np.asarray(y_hat)
        if y_hat.ndim != 2 or y_hat.shape[1] != self.latent_dims or not np.isfinite(y_hat).all():
            raise ValueError(f"expected finite latents of shape (n, {self.latent_dims}), got {y_hat.dtype} {y_hat.shape}")
        return _in_batches(lambda batch: as_images(self.g_s.forward(batch.T)[0]), y_hat.astype(np.float32))

    # --- quantisation: the offset is o = μ + u, with u = 0 for rounding ---

    @property
    def sigma(self):
        """σ of each latent as the range coder takes it, float64 (latent_dims,).

        A range decoder is derailed by one different bit, and exp may differ in its last bit from one
        machine to the next. So σ is computed once, is saved with the model, and holds for as long as
        log σ stays what it was. Nothing else that the range decoder takes is computed, but by exact
        additions. That is what codecs lack whose networks predict the prior of every image: there
        each matrix product has a say in the probabilities, and rounds as the machine likes (Ballé,
        Johnston & Minnen 2019, "Integer networks for data compression with latent-variable models").
        """
        log_sigma = self.prior.params["log_sigma"]
        if not np.array_equal(log_sigma, self._log_sigma):
            self._log_sigma, self._sigma = log_sigma.copy(), np.exp(log_sigma, dtype=np.float64)
        return self._sigma

    @property
    def limit(self):
        """Integers are clipped to ±limit: 16 σ of the widest latent, and 16 for good measure."""
        return math.ceil(min(16 + 16 * self.sigma.max(), 2**20))

    def quantise(self, y, u=np.float32(0)):
        """Latents (n, latent_dims) -> integers to be coded, int32."""
        k = np.rint(y - (self.prior.params["mu"] + u))
        return np.clip(k, -self.limit, self.limit).astype(np.int32)

    def dequantise(self, k, u=np.float32(0)):
        """-> ŷ, what the decoder sees of the latents, float32."""
        return k.astype(np.float32) + (self.prior.params["mu"] + u)

    def dither(self, seed, n):
        """u in [−½, ½), float32 (n, latent_dims): multiples of 2⁻²⁴, the same on every machine."""
        raw = np.random.PCG64(seed).random_raw(n * self.latent_dims).reshape(n, self.latent_dims)
        return ((raw >> 40) / 2**24 - 0.5).astype(np.float32)

    def bits(self, y_hat):
        """-> float (n, latent_dims): ideal code length −log₂ p of each of the latents ŷ, in bits."""
        return self.prior.forward(y_hat.T.astype(np.float64))[0].T

    def information_content(self, images):
        """-> float (n,): ideal code length of each image's rounded latents under the prior, in bits."""
        return self.bits(self.dequantise(self.quantise(self.analysis(images)))).sum(axis=1)

    # --- coding ---

    def compress(self, images, quantizer="round", seed=0, lmbda=None, refine=0):
        """uint8 (n, 28, 28) -> bytes: all that `decompress` needs besides this model.

        `seed` is that of the dither, if quantizer="dither". `refine` > 0 searches so many times
        for integers of lower rate + lmbda · distortion (see tinycodec.search).
        """
        if quantizer not in container.QUANTIZERS:
            raise ValueError(f"expected quantizer 'round' or 'dither', got {quantizer!r}")
        if not (isinstance(seed, (int, np.integer)) and 0 <= seed < 2**32):
            raise ValueError(f"expected a seed, an integer from 0 to 2**32 - 1, got {seed!r}")
        images = check_images(images)
        y = self.analysis(images)
        u = self._dither(quantizer, seed, len(y))
        k = self._integers(images, y, u, lmbda, refine)
        coder = self.range_coder()
        chunks = [coder.encode(k[part], -u[part]) for part in container.chunk_slices(len(k))]
        return container.pack(quantizer, seed, len(k), self.fingerprint(), chunks)

    def decompress(self, data, max_images=container.MAX_IMAGES):
        """Bytes from `compress` -> uint8 (n, 28, 28).

        Raises ValueError if they were written with another model, or were truncated or altered; it then
        names the damaged chunks and the images in them. It also refuses more than `max_images`: a few bytes
        may stand for any number of images that cost no bits.
        """
        return self.decode(container.unpack(data, self.fingerprint(), max_images=max_images))[0]

    def salvage(self, data, max_images=container.MAX_IMAGES):
        """What is left of damaged bytes from `compress` -> (images, lost): uint8 (n, 28, 28), with black ones
        for those that are lost, and the list of their indices. Raises ValueError if nothing is left."""
        return self.decode(container.unpack(data, self.fingerprint(), salvage=True, max_images=max_images))

    def decode(self, stream):
        """A container.Stream -> (images, lost), as `salvage` does."""
        images = self.synthesis(self.decode_latents(stream))
        lost = [i for part, chunk in stream.chunks if chunk is None for i in range(part.start, part.stop)]
        images[lost] = 0
        return images, lost

    def decode_latents(self, stream):
        """A container.Stream -> the latents ŷ in it, float32 (n, latent_dims); of lost images, the mode."""
        coder, u = self.range_coder(), self._dither(stream.quantizer, stream.seed, stream.n)
        k = np.zeros(u.shape, np.int32)
        for part, chunk in stream.chunks:
            if chunk is not None:
                k[part] = coder.decode(chunk, part.stop - part.start, -u[part])
        return self.dequantise(k, u)

    def compress_each(self, images, lmbda=None, refine=0):
        """uint8 (n, 28, 28) -> n byte strings, each image on its own and as short as possible.

        Nothing but the rounded latents is in them: no header, no checksum.
        """
        images = check_images(images)
        k = self._integers(images, self.analysis(images), np.float32(0), lmbda, refine)
        return self.range_coder().encode_each(k, 0)

    def decompress_each(self, strings):
        """Byte strings from `compress_each` -> uint8 (n, 28, 28).

        A string carries no checksum, so an altered one, or another model's, may decode to a wrong
        image. Raises ValueError for those that `compress_each` cannot have written with this model.
        """
        coder = self.range_coder()
        k = np.zeros((len(strings), self.latent_dims), np.int32)
        for i, string in enumerate(strings):
            if not isinstance(string, bytes):
                raise TypeError(f"expected a list of bytes, got {type(string).__name__} at position {i}")
            k[i] = coder.decode(string, 1, 0)
        for i, (string, canonical) in enumerate(zip(strings, coder.encode_each(k, 0))):
            if string != canonical:
                raise ValueError(f"string {i} was not written by compress_each with this model")
        return self.synthesis(self.dequantise(k))

    def sample(self, n, rng):
        """Digits that do not exist: random bits -> entropy decoder -> synthesis, uint8 (n, 28, 28).

        `rng` is the numpy.random.Generator that the bits come from.
        """
        return self.synthesis(self.dequantise(self.range_coder().sample(n, rng, 0)))

    def _dither(self, quantizer, seed, n):
        return self.dither(seed, n) if quantizer == "dither" else np.zeros((n, self.latent_dims), np.float32)

    def _integers(self, images, y, u, lmbda, sweeps):
        k = self.quantise(y, u)
        return k if lmbda is None and sweeps == 0 else refine_integers(self, images, k, u, lmbda, sweeps)

    def range_coder(self):
        """For integers of mean μ − o = −u."""
        return GaussianRangeCoder(self.sigma, self.limit)

    # --- files ---

    @property
    def params(self):
        """All parameters by name; arrays to be changed in place."""
        return {f"{part}.{name}": p for part, layer in self.parts.items() for name, p in layer.params.items()}

    def fingerprint(self):
        """8 bytes that differ between models that decode differently: the first of the SHA-256 of σ, as
        little-endian float64, and of g_s.* and prior.mu as float32, in the order of the model's file."""
        digest = hashlib.sha256(self.sigma.astype("<f8").tobytes())
        for name, p in self.params.items():
            if not name.startswith("g_a.") and name != "prior.log_sigma":
                digest.update(p.astype("<f4").tobytes())
        return digest.digest()[:8]

    def save(self, path, **more):
        """Write all parameters and σ, and the arrays `more`, to `path`, a NumPy .npz file."""
        archive = io.BytesIO()                 # a ZipFile whose disk is full complains again when it is deleted
        np.savez(archive, latent_dims=np.int64(self.latent_dims), **self.params, **{"prior.sigma": self.sigma}, **more)
        write_file(path, archive.getvalue())

    @classmethod
    def load(cls, path):
        """Read a codec that `save` wrote. Raises ValueError if the file is anything else."""
        return cls.parse(read_file(path), path)

    @classmethod
    def parse(cls, data, name):
        """The bytes of a file called `name`, which `save` wrote -> Codec."""
        with open_archive(data, f"{name}: not a model that tinycodec saved") as archive:
            codec = cls(int(read_array(archive, "latent_dims", np.int64(0))))
            for name, p in codec.params.items():
                p[...] = read_array(archive, name, p)
            sigma = read_array(archive, "prior.sigma", codec.sigma)
            if not (np.allclose(sigma, codec.sigma, rtol=1e-6, atol=0) and (sigma > 0).all()):
                raise ValueError("expected prior.sigma to be positive, the exponential of prior.log_sigma")
            codec._sigma = sigma
            return codec


def _in_batches(function, a, size=128):
    """function(a), in batches of `size` rows, on as many threads as `default_threads` says.

    The last batch is filled up with zeros: a matrix product may round differently at another
    shape, and what becomes of an image must not depend on how many others come with it.
    """
    def one(i):
        batch = a[i:i + size]
        padding = np.zeros((size - len(batch), *a.shape[1:]), a.dtype)
        return function(np.concatenate([batch, padding]))[:len(batch)]

    return np.concatenate(parallel_map(one, range(0, max(len(a), 1), size), default_threads()))
