"""How far are decoded images from the originals, both uint8 (n, 28, 28)? And how far two codecs?"""
import numpy as np
from scipy.interpolate import PchipInterpolator


def mean_absolute_error(images, decoded):
    """Mean |x − x̂| over all pixels, as fractions of full scale."""
    return np.abs(images / 255 - decoded / 255).mean()


def psnr(images, decoded):
    """Peak signal-to-noise ratio of each image, −10 log₁₀ of its mean squared error: (n,), in dB.

    Capped at 100 dB, for images without any error.
    """
    mse = np.square(images / 255 - decoded / 255).mean(axis=(1, 2))
    return -10 * np.log10(np.maximum(mse, 1e-10))


def entropy(k):
    """Entropy of integers (n, d) as counted, in bits a row: the sum of each column's own.

    What a prior costs on top of it is the Kullback–Leibler divergence (Cover & Thomas 2006, theorem 5.4.3). If the
    columns depend on each other, there is less in them than this sum.

    >>> float(entropy(np.array([[0, 7], [0, 7], [1, 7], [2, 7]])))
    1.5
    """
    counts = [np.unique(column, return_counts=True)[1] / len(k) for column in k.T]
    return -sum(np.sum(p * np.log2(p)) for p in counts)


def bd_rate(reference, curve):
    """Mean relative difference in rate at equal quality: −0.5 is half the bits (Bjøntegaard 2001).

    Each curve is (rates, qualities), quality in dB or any other scale on which more is better. The
    logarithms of the rates are interpolated as functions of quality, with monotone cubics, and
    averaged over the qualities that both curves reach. Raises ValueError if there are none.

    >>> quality = [20, 25, 30, 35]
    >>> float(bd_rate(([10, 20, 40, 80], quality), ([5, 10, 20, 40], quality)).round(6))
    -0.5
    """
    log_rates = []
    for rates, qualities in (reference, curve):
        order = np.argsort(qualities)
        log_rates.append(PchipInterpolator(np.asarray(qualities, float)[order], np.log(rates)[order]))
    low = max(f.x[0] for f in log_rates)
    high = min(f.x[-1] for f in log_rates)
    if low >= high:
        raise ValueError(f"the curves share no quality: one ends at {high:g}, the other begins at {low:g}")
    a, b = (f.integrate(low, high) / (high - low) for f in log_rates)
    return np.expm1(b - a)
