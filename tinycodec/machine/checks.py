"""Checks of what users give: each returns it, in its type, or raises a ValueError of one line."""
import numpy as np


def check_images(images):
    """-> uint8 (n, 28, 28)."""
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.shape[1:] != (28, 28):
        raise ValueError(f"expected images as uint8 (n, 28, 28), got {images.dtype} {images.shape}")
    return images


def generator(seed):
    """numpy.random.default_rng(seed)."""
    try:
        return np.random.default_rng(seed)
    except (TypeError, ValueError):
        raise ValueError(f"expected a seed, an integer from 0, got {seed!r}") from None


def check_latents(y_hat, latent_dims):
    """-> (n, latent_dims), finite."""
    y_hat = np.asarray(y_hat)
    if y_hat.shape[1:] != (latent_dims,) or not np.isfinite(y_hat).all():
        raise ValueError(f"expected finite latents of shape (n, {latent_dims}), got {y_hat.dtype} {y_hat.shape}")
    return y_hat
