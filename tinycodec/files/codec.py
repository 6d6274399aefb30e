"""What users call: the codec of the lesson, with `constriction`'s range coder, an encoder that searches, and files."""
import numpy as np

from ..codec import PlainCodec
from ..machine import in_batches
from ..machine.checks import check_images, check_latents, generator
from ..machine.convolution import accelerate
from ..machine.rangecoder import GaussianRangeCoder
from ..search import refine_integers
from . import checkpoint, stream
from .safe import read_file


class Codec(PlainCodec):
    """A learned codec of 28×28 grey images, untrained (see `train`)."""

    def __init__(self, latent_dims=50, seed=0):
        if not (isinstance(latent_dims, (int, np.integer)) and 1 <= latent_dims <= 10_000):
            raise ValueError(f"expected latent_dims, from 1 to 10000, got {latent_dims!r}")
        super().__init__(int(latent_dims), generator(seed))            # default_rng gives back a Generator
        for network in (self.g_a, self.g_s):
            accelerate(network)
        self.g_a.layers[0].input_gradient = False          # nobody needs that of the images

    def analysis(self, images):
        """uint8 (n, 28, 28) -> y, latents before rounding, float32 (n, latent_dims)."""
        return in_batches(super().analysis, check_images(images))

    def quantise(self, y, dither=0):
        """Latents y -> k, integers to be coded, int32; those of y − dither."""
        k = np.rint(check_latents(y, self.latent_dims) - (self.prior.params["mu"] + dither))
        return np.clip(k, -self.limit, self.limit).astype(np.int32)

    def dequantise(self, k, dither=0):
        """Integers k -> ŷ, what the decoder sees of the latents, float32; with dither added back."""
        return check_latents(k, self.latent_dims).astype(np.float32) + (self.prior.params["mu"] + dither)

    def synthesis(self, y_hat):
        """Latents ŷ -> uint8 (n, 28, 28). Raises ValueError if ŷ, or what becomes of it, is not finite."""
        return in_batches(super().synthesis, check_latents(y_hat, self.latent_dims).astype(np.float32))

    def bits(self, y_hat):
        """-> float (n, latent_dims): ideal code length −log₂ p of each of the latents ŷ."""
        return self.prior.forward(check_latents(y_hat, self.latent_dims).T.astype(np.float64))[0].T

    def information_content(self, images):
        """-> float (n,): ideal code length of each image's rounded latents, in bits."""
        return self.bits(self.dequantise(self.quantise(self.analysis(images)))).sum(axis=1)

    def range_coder(self):
        """coding.encode and decode, by `constriction`."""
        return GaussianRangeCoder(self.sigma, self.limit)

    def integers(self, images, u=0, lmbda=None, refine=0):
        """uint8 (n, 28, 28) -> k: the nearest, or, given lmbda and refine > 0, the best in rate + lmbda · distortion
        that `refine` rounds of search find (tinycodec.search)."""
        k = self.quantise(self.analysis(images), u)
        if lmbda is None and refine == 0:
            return k
        return refine_integers(self, images, k, u, lmbda, refine)

    def compress_each(self, images, lmbda=None, refine=0):
        """uint8 (n, 28, 28) -> n byte strings, one for each image, each as short as possible."""
        return self.range_coder().encode_each(self.integers(images, 0, lmbda, refine), mean=0)

    def decompress_each(self, strings):
        """Byte strings from `compress_each` -> uint8 (n, 28, 28). Raises ValueError for those that
        it cannot have written with this model. Another wrong one decodes to a wrong image."""
        return self.synthesis(self.dequantise(self.range_coder().decode_each(strings, mean=0)))

    def compress(self, images, quantizer="round", seed=0, lmbda=None, refine=0):
        """All in one stream (stream.py), uint8 (n, 28, 28) -> bytes. lmbda and refine are as in `integers`.

        `quantizer` is "round" or "dither". Dither, with a pseudo-random u ~ U(−½, ½) that the decoder makes from `seed`,
        too, codes k = round(y − μ − u), under N(−u, σ²), and decodes ŷ = k + μ + u. Then ŷ − y is uniform, as in
        training, whatever y is: universal quantisation (Ziv 1985; Agustsson & Theis 2020).
        """
        return stream.write(self, images, quantizer, seed, lmbda, refine)

    def decompress(self, data, max_images=stream.MAX_IMAGES):
        """Bytes from `compress` -> uint8 (n, 28, 28). Raises ValueError for another model's bytes, for damaged ones (it
        names the images lost), and for more than `max_images`."""
        return stream.read(self, data, max_images)[0]

    def salvage(self, data, max_images=stream.MAX_IMAGES):
        """What is left of damaged bytes from `compress` -> (images, lost): uint8 (n, 28, 28), black where lost, and the
        list of lost indices. Raises ValueError if nothing is left."""
        images, damaged = stream.read(self, data, max_images, salvage=True)
        return images, damaged.lost

    def sample(self, n, rng):
        """Random bits (of a numpy.random.Generator), decoded -> uint8 (n, 28, 28)."""
        if not (isinstance(n, (int, np.integer)) and n >= 0 and isinstance(rng, np.random.Generator)):
            raise ValueError(f"expected a number of images and a numpy.random.Generator, got {n!r} and {rng!r}")
        return self.synthesis(self.dequantise(self.range_coder().sample(n, rng, mean=0)))

    def save(self, path):
        """Write all parameters and σ to `path`, a NumPy .npz file."""
        checkpoint.save(path, self)

    @classmethod
    def load(cls, path):
        """Read a codec of this class that `save` wrote: parameters are saved, layers are not. So a codec with other layers
        needs a subclass whose `__init__` makes them. Raises ValueError if the file is anything else."""
        return checkpoint.parse(read_file(path), path, cls)
