"""Page one: what a learned codec is, and what it learns to minimise.

           g_a            + u             g_s
      x ────────▶ y ─────────────▶ ỹ ────────▶ x̂        training: u is uniform noise in ±½
    image      latents             │        decoded     coding: ŷ = μ + round(y − μ) (codec.py)
                                   ▼
         bits of the image ≈ rate = −Σ log₂ p(ỹ)        p: a prior for each latent; μ: its mean
                                  (entropy.py)

    loss = rate [bits per image] + lmbda · distortion [mean |x̂ − x|, by pixel_errors, in 0 … 1]

Noise stands in for rounding. Either moves y by ½ at most, but ∂round(y)/∂y is 0 almost everywhere,
and ∂(y + u)/∂y is 1."""
import numpy as np

from .entropy import NoisyGaussian
from .layers import Conv2D, ConvTranspose2D, Dense, LeakyReLU, Reshape, Sequential


class Model:
    """Transforms and prior, untrained, after Ballé, Laparra & Simoncelli 2017, "End-to-end
    optimized image compression", with all layers of TensorFlow Compression's MNIST notebook."""

    def __init__(self, latent_dims=50, seed=0):
        rng = np.random.default_rng(seed)
        self.latent_dims = latent_dims
        self.g_a = Sequential(     # 5×5, stride 2; (28, 1, 28, n) is (H, C, W, n), see layers.py
            Conv2D(1, 20, 5, 2, rng), LeakyReLU(),                 # (14, 20, 14, n)
            Conv2D(20, 50, 5, 2, rng), LeakyReLU(),                # (7, 50, 7, n)
            Reshape(7 * 50 * 7), Dense(2450, 500, rng), LeakyReLU(),       # (500, n)
            Dense(500, latent_dims, rng))                          # (latent_dims, n)
        self.g_s = Sequential(                                     # and the same way back
            Dense(latent_dims, 500, rng), LeakyReLU(),
            Dense(500, 2450, rng), LeakyReLU(), Reshape(7, 50, 7),
            ConvTranspose2D(50, 20, 5, 2, rng), LeakyReLU(),
            ConvTranspose2D(20, 1, 5, 2, rng), LeakyReLU())        # the notebook has it, too
        self.prior = NoisyGaussian(latent_dims)

    @property
    def params(self):      # by name, as "g_a.0.w": the layers' own arrays, to be changed in place
        return named(g_a=self.g_a.params, g_s=self.g_s.params, prior=self.prior.params)


def loss_and_gradients(model, x, noise, lmbda, distortion="mae", rate_weight=1.0):
    """-> (loss, rate, distortion), means over n images, and the loss's gradients, by name, for all
    of `model.params`. x are pixels, (28, 1, 28, n); noise is uniform in ±½, (latent_dims, n).
    The distortion is the mean of |e| ("mae") or e² ("mse"), where e is from `pixel_errors`.
    rate_weight is below 1 at the start of some trainings (training.schedule)."""
    n = x.shape[-1]
    y, cache_a = model.g_a.forward(x)
    y_tilde = y + noise
    bits, cache_p = model.prior.forward(y_tilde)
    x_hat, cache_s = model.g_s.forward(y_tilde)

    rate = bits.sum(dtype=np.float64) / n
    error = pixel_errors(x_hat, x)
    if distortion == "mae":
        terms, slope = np.abs(error), np.sign(error)       # slope is ∂term/∂error
    else:
        terms, slope = np.square(error), 2 * error
    d = terms.sum(dtype=np.float64) / x.size
    loss = rate_weight * rate + lmbda * d

    # Backwards: loss = rate_weight/n · Σ bits + lmbda/x.size · Σ terms. (Error 0 has slope 0.)
    dx_hat = slope * float(lmbda / x.size)    # a NumPy lmbda would make it float64
    dy_s, grads_s = model.g_s.backward(dx_hat, cache_s)
    dy_p, grads_p = model.prior.backward(np.full_like(bits, rate_weight / n), cache_p)
    # ỹ goes two ways, into g_s and into the prior, so its gradient is the sum of what comes back;
    # as ỹ = y + u, it is the gradient of y, too.
    _, grads_a = model.g_a.backward(dy_s + dy_p, cache_a)
    return (loss, rate, d), named(g_a=grads_a, g_s=grads_s, prior=grads_p)


def as_pixels(images):
    """uint8 (n, 28, 28) -> x, float32 (28, 1, 28, n) in 0 … 1."""
    return np.divide(images.transpose(1, 2, 0)[:, None], 255, dtype=np.float32, order="C")


def pixel_errors(x_hat, x):
    """x̂ − x, but 0 where x is black and x̂ < 0, or x is white and x̂ > 1: decoding clips to
    [0, 1], which makes these pixels exact. (Not clip(x̂) − x: a grey pixel decoded as 1.3 would have
    gradient 0, and stay there.)"""
    error = x_hat - x
    exact = ((x == 0) & (error < 0)) | ((x == 1) & (error > 0))
    return error * ~exact


def named(**parts):
    return {f"{part}.{name}": a for part, arrays in parts.items() for name, a in arrays.items()}
