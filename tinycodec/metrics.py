"""How far are decoded images from the originals? Both uint8 (n, 28, 28)."""
import numpy as np


def mean_absolute_error(images, decoded):
    """Mean |x − x̂| over all pixels, as fractions of full scale."""
    return np.abs(images / 255 - decoded / 255).mean()


def psnr(images, decoded):
    """Peak signal-to-noise ratio of each image, −10 log₁₀ of its mean squared error: (n,), in dB.

    Capped at 100 dB, for images without any error.
    """
    mse = np.square(images / 255 - decoded / 255).mean(axis=(1, 2))
    return -10 * np.log10(np.maximum(mse, 1e-10))
