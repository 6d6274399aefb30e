"""Images are uint8 (n, 28, 28) outside, and float (28, 1, 28, n) in [0, 1] inside (layers.py says why). And checks."""
import numpy as np


def check_images(images):
    """-> uint8 (n, 28, 28), or ValueError."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(f"expected images as uint8 (n, 28, 28), got {images.dtype} {images.shape}")
    return images


def generator(seed):
    """numpy.random.default_rng(seed), or ValueError."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f"expected a seed, an integer from 0, got {seed!r}") from None


def check_latents(y_hat, latent_dims):
    """-> float32 (n, latent_dims), or ValueError."""
    y_hat = np.asarray(y_hat)
    if y_hat.shape[1:] != (latent_dims,) or not np.isfinite(y_hat).all():
        raise ValueError(f"expected finite latents of shape (n, {latent_dims}), got {y_hat.dtype} {y_hat.shape}")
    return y_hat.astype(np.float32)


def as_pixels(images):
    """uint8 (n, 28, 28) -> float32 (28, 1, 28, n) in [0, 1]."""
    return np.divide(images.transpose(1, 2, 0)[:, None], 255, dtype=np.float32, order="C")


def as_images(x):
    """Float (28, 1, 28, n) -> uint8 (n, 28, 28), clipped. Raises ValueError if x is not finite."""
    if not np.isfinite(x).all():
        raise ValueError("expected finite pixels, got others: the model's weights are too large")
    return np.rint(x[:, 0] * 255).clip(0, 255).astype(np.uint8).transpose(2, 0, 1)
