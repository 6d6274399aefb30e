"""Images -> latents -> integers -> bytes, and back: latents are rounded now, and coded.

    y = g_a(x)        ▶    k = round(y − μ)     ▶    bytes = coding.encode(k, 0, σ, limit)
    x̂ = g_s(ŷ)        ◀    ŷ = k + μ            ◀    k = coding.decode(bytes, 0, σ, limit)

y, k and ŷ are (n, latent_dims) here. With μ = 0.51, y = −2.64 becomes k = −3, and then ŷ = −2.49.
k is coded under N(0, σ²), the prior of y − μ. Rounding y − μ, not y, makes the most probable
latent, μ, exact: k = 0."""
import numpy as np

from . import coding
from .model import Model, as_pixels


class PlainCodec(Model):
    """A codec of 28×28 grey images, untrained. `Codec` (files/codec.py) is faster, and writes the
    same strings, unless a float's last digit decides. It also checks its input, searches, …"""

    def __init__(self, latent_dims=50, seed=0):
        super().__init__(latent_dims, seed)
        self.fix_sigma()

    def fix_sigma(self):
        """Set σ, float64 (latent_dims,), for the range coder. Call it after changing log σ.

        Encoder and decoder must compute the same C(k) (coding.py). One different bit of σ can move
        a share to the next integer, and what follows may decode wrongly. Another machine's exp may
        differ in its last bit, so `Codec` saves σ itself in the model's file. erf may differ, too:
        only `Codec` decodes safely on another machine, as constriction has an erf of its own.
        (g_s may differ, too, by a grey level in a pixel: the integers are decoded before.)"""
        self.sigma = np.exp(self.prior.params["log_sigma"], dtype=np.float64)

    @property
    def limit(self):
        """k is clipped to ±limit: 16 + 16 σ, with the widest latent's σ. No digit gets near that.
        At most 2²⁰: coding.cumulative has 2²⁴ shares for 2·limit + 1 integers."""
        return int(np.ceil(min(16 + 16 * self.sigma.max(), 2**20)))

    def compress_each(self, images):
        """uint8 (n, 28, 28) -> n byte strings, one for each image, each as short as possible."""
        means = np.zeros(self.latent_dims)
        return [coding.encode(k, means, self.sigma, self.limit)
                for k in self.quantise(self.analysis(images))]

    def decompress_each(self, strings):
        """Byte strings from `compress_each` -> uint8 (n, 28, 28)."""
        means = np.zeros(self.latent_dims)
        k = [coding.decode(string, means, self.sigma, self.limit) for string in strings]
        return self.synthesis(self.dequantise(np.array(k).reshape(-1, self.latent_dims)))

    def analysis(self, images):
        """uint8 (n, 28, 28) -> y, latents before rounding, float32."""
        return self.g_a.forward(as_pixels(images))[0].T

    def quantise(self, y):
        """Latents y -> k, integers to be coded, int32."""
        k = np.rint(y - self.prior.params["mu"])
        return np.clip(k, -self.limit, self.limit).astype(np.int32)

    def dequantise(self, k):
        """Integers k -> ŷ, what the decoder sees of the latents, float32."""
        return k.astype(np.float32) + self.prior.params["mu"]

    def synthesis(self, y_hat):
        """Latents ŷ -> uint8 (n, 28, 28)."""
        return as_images(self.g_s.forward(y_hat.T)[0])


def as_images(x_hat):
    """Float (28, 1, 28, n) -> uint8 (n, 28, 28), clipped. Raises ValueError if x̂ is not finite."""
    if not np.isfinite(x_hat).all():
        raise ValueError("expected finite pixels, got others: the model's weights are too large")
    return np.rint(x_hat[:, 0] * 255).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
