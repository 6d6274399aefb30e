"""Encode harder: search for integers better than the nearest; the decoder never knows.

Rounding each latent on its own is not what minimises rate + lmbda · distortion. This is iterative
inference, as in Yang, Bamler & Mandt 2020 ("Improving inference for neural image compression"), but
straight on the integers: one latent after another is moved by ±1 where that lowers the loss.
"""
import numpy as np

from .images import as_images, as_pixels
from .parallel import default_threads, parallel_map


def refine_integers(codec, images, k, u, lmbda, sweeps):
    """-> integers, int32 (n, latent_dims), of no higher loss than `k` for any image.

    The loss of an image is the ideal code length of its integers plus lmbda · mean |x − x̂| of the
    decoded uint8 images. `u` is the dither (0 for rounding); `sweeps` passes are made at the most.
    """
    if lmbda is None or not 0 < lmbda < np.inf:
        raise ValueError(f"refine needs a positive, finite lmbda, got {lmbda!r}")
    if not (isinstance(sweeps, (int, np.integer)) and sweeps > 0):
        raise ValueError(f"expected refine, a positive integer, got {sweeps!r}")
    u = np.broadcast_to(u, k.shape)
    batch = 128
    starts = range(0, len(k), batch)
    parts = parallel_map(lambda i: _refine_batch(codec, images[i:i + batch], k[i:i + batch], u[i:i + batch], lmbda,
                                                 sweeps), starts, default_threads())
    return np.concatenate(parts) if parts else k


def _refine_batch(codec, images, k, u, lmbda, sweeps):
    n, missing = len(k), 128 - len(k)          # filled up as the decoder does, for the same rounding
    images, k, u = (np.concatenate([a, np.zeros((missing, *a.shape[1:]), a.dtype)]) for a in (images, k, u))
    x = as_pixels(images)

    def distortion(y_hat):
        x_hat, cache = codec.g_s.forward(y_hat)
        return np.abs(as_pixels(as_images(x_hat)) - x).mean(axis=(0, 1, 2)), np.sign(x_hat - x), cache

    for _ in range(sweeps):
        y_hat = codec.dequantise(k, u).T.copy()
        d, sign, cache = distortion(y_hat)
        # Backprop says for every latent at once which of +1 and −1 may lower the distortion:
        # the other is rarely better and would double the time.
        slope, _ = codec.g_s.backward(sign, cache)
        k_new = np.clip(k - np.sign(slope).T.astype(k.dtype), -codec.limit, codec.limit)
        y_new = codec.dequantise(k_new, u).T
        saved = (codec.bits(y_hat.T) - codec.bits(y_new.T)).T
        for i in range(codec.latent_dims):
            if (saved[i] + lmbda * d > 0).any():                     # else even d = 0 would not pay
                y_try = y_hat.copy()
                y_try[i] = y_new[i]
                d_try, _, _ = distortion(y_try)
                better = saved[i] + lmbda * (d - d_try) > 0
                y_hat[i, better], k[better, i], d[better] = y_new[i, better], k_new[better, i], d_try[better]
    return k[:n]
