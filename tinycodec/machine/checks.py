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


def check_latents(latents, latent_dims):
    """y, k or ŷ -> (n, latent_dims), finite."""
    latents = np.asarray(latents)
    if latents.shape[1:] != (latent_dims,) or not np.isfinite(latents).all():
        raise ValueError(f"expected finite latents of shape (n, {latent_dims}), got {latents.dtype} {latents.shape}")
    return latents
