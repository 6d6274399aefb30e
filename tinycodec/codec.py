"""What users call: images -> latents -> integers -> bytes, and back.

    y = g_a(x)             k = round(y − μ)          bytes = coding.encode(k, 0, σ, limit)
    x̂ = g_s(ŷ)             ŷ = k + μ                 k = coding.decode(bytes, 0, σ, limit)

y, k and ŷ are (n, latent_dims) here. k is coded under N(0, σ²), the prior of y − μ, so that the
most probable latent, μ, is coded exactly, in the fewest bits.
Dither, an option: with a pseudo-random u ~ U(−½, ½), which the decoder makes, too, it is
k = round(y − μ − u), coded under N(−u, σ²), and ŷ = k + μ + u. Then ŷ − y is uniform, as in
training, whatever y is: universal quantisation (Ziv 1985; Agustsson & Theis 2020)."""
import numpy as np

from . import coding
from .model import Model


class Codec(Model):
    """A learned codec of 28×28 grey images, untrained (see `train`)."""

    def __init__(self, latent_dims=50, seed=0):
        super().__init__(latent_dims, seed)
        self.fix_sigma()

    def fix_sigma(self):
        """Set σ, float64 (latent_dims,), for the range coder. Call it after changing log σ.
        One different bit of σ derails a range decoder, and another machine's exp may differ in its
        last. So σ is saved. (erf is `constriction`'s own, and μ is added only after decoding.)"""
        self.sigma = np.exp(self.prior.params["log_sigma"], dtype=np.float64)

    def analysis(self, images):
        """uint8 (n, 28, 28) -> y, latents before rounding, float32."""
        from .machine import in_batches, pixels        # in_batches(f, a) is f(a), on all cores
        images = pixels.check_images(images)
        return in_batches(lambda x: self.g_a.forward(pixels.as_pixels(x))[0].T, images)

    def quantise(self, y, u=0):
        """Latents y -> k, the integers to be coded, int32."""
        k = np.rint(y - (self.prior.params["mu"] + u))
        return np.clip(k, -self.limit, self.limit).astype(np.int32)

    @property
    def limit(self):
        """k is clipped to ±limit: 16 σ of the widest latent, plus 16, or 2²⁰ of 2²⁴ shares."""
        return int(np.ceil(min(16 + 16 * self.sigma.max(), 2**20)))

    def compress_plainly(self, images):
        """uint8 (n, 28, 28) -> n byte strings."""
        return [coding.encode(k, 0 * self.sigma, self.sigma, self.limit)
                for k in self.quantise(self.analysis(images))]

    def decompress_plainly(self, strings):
        """n byte strings -> uint8 (n, 28, 28)."""
        k = [coding.decode(s, 0 * self.sigma, self.sigma, self.limit) for s in strings]
        return self.synthesis(self.dequantise(np.array(k)))

    def dequantise(self, k, u=0):
        """Integers k -> ŷ, what the decoder sees of the latents, float32."""
        return k.astype(np.float32) + (self.prior.params["mu"] + u)

    def synthesis(self, y_hat):
        """Latents ŷ -> uint8 (n, 28, 28)."""
        from .machine import in_batches, pixels
        y_hat = pixels.check_latents(y_hat, self.latent_dims)
        return in_batches(lambda y: pixels.as_images(self.g_s.forward(y.T)[0]), y_hat)

    # --- the same, by `constriction`, with more to choose, and in files
    def range_coder(self):
        from .machine.rangecoder import GaussianRangeCoder
        return GaussianRangeCoder(self.sigma, self.limit)

    def compress_each(self, images, lmbda=None, refine=0):
        """uint8 (n, 28, 28) -> n byte strings, one for each image, each as short as possible."""
        return self.range_coder().encode_each(self.integers(images, 0, lmbda, refine), mean=0)

    def decompress_each(self, strings):
        """Byte strings from `compress_each` -> uint8 (n, 28, 28). Raises ValueError for those that
        it cannot have written with this model. Another wrong one decodes to a wrong image."""
        return self.synthesis(self.dequantise(self.range_coder().decode_each(strings, mean=0)))

    def integers(self, images, u=0, lmbda=None, refine=0):
        """uint8 (n, 28, 28) -> k: the nearest, or, given lmbda and refine > 0, the best in rate +
        lmbda · distortion that `refine` searches find (tinycodec.search)."""
        from .search import refine_integers
        k = self.quantise(self.analysis(images), u)
        return refine_integers(self, images, k, u, lmbda, refine)

    def bits(self, y_hat):
        """-> float (n, latent_dims): ideal code length −log₂ p of each of the latents ŷ."""
        return self.prior.forward(y_hat.T.astype(np.float64))[0].T

    def information_content(self, images):
        """-> float (n,): ideal code length of each image's rounded latents, in bits."""
        return self.bits(self.dequantise(self.quantise(self.analysis(images)))).sum(axis=1)

    def compress(self, images, quantizer="round", seed=0, lmbda=None, refine=0):
        """All in one stream (files/stream.py), uint8 (n, 28, 28) -> bytes. `quantizer` is "round"
        or "dither" (by `seed`); lmbda and refine are as in `integers`."""
        from .files import stream
        return stream.write(self, images, quantizer, seed, lmbda, refine)

    def decompress(self, data, max_images=None):
        """Bytes from `compress` -> uint8 (n, 28, 28). Raises ValueError for another model's bytes,
        damaged ones (it names the images lost), and more than max_images (default 100,000)."""
        from .files import stream
        return stream.read(self, data, max_images)[0]

    def salvage(self, data, max_images=None):
        """What is left of damaged bytes from `compress` -> (images, lost): uint8 (n, 28, 28), black
        where lost, and the list of lost indices. Raises ValueError if nothing is left."""
        from .files import stream
        return stream.salvage(self, data, max_images)

    def sample(self, n, rng):
        """Random bits (of a numpy.random.Generator), decoded -> uint8 (n, 28, 28)."""
        return self.synthesis(self.dequantise(self.range_coder().sample(n, rng, mean=0)))

    def save(self, path):
        """Write all parameters and σ to `path`, a NumPy .npz file."""
        from .files.checkpoint import save
        save(path, self)

    @classmethod
    def load(cls, path):
        """Read a codec that `save` wrote. Raises ValueError if the file is anything else."""
        from .files.checkpoint import load
        return load(path)
