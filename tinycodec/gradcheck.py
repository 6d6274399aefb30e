"""Is a hand-derived gradient right? Compare it with differences, as in CS231n.

A fixed dy turns a layer's output y into a number, L = Σ dy·y. As ∂L/∂y = dy, backward(dy) claims
what ∂L/∂v is, for every entry v of x and of the parameters. Moving v by ±h measures it:

    ∂L/∂v ≈ (L(v + h) − L(v − h)) / 2h

By Taylor's series, L(v ± h) = L ± h L′ + h² L″/2 ± h³ L‴/6 + …: the quotient is L′ + h² L‴/6 + ….
Rounding y by some 1e-16 adds 1e-16/h. Let y, L′ and L‴ be about 1: with h = 1e-5 both errors are
about 1e-11. A limit of 1e-6 is far above that. Mistakes cause errors that are seldom below 1e-3."""
import numpy as np


def relative_errors(layer, x, h=1e-5):
    """-> {name: relative errors of all its entries}, for x and each parameter. All must be float64.

    >>> from tinycodec.layers import Dense, LeakyReLU
    >>> rng = np.random.default_rng(0)
    >>> errors = relative_errors(Dense(4, 3, rng, dtype=np.float64), rng.normal(size=(4, 2)))
    >>> {name: bool((e < 1e-6).all()) for name, e in errors.items()}
    {'x': True, 'w': True, 'b': True}
    >>> relative_errors(LeakyReLU(), np.array([-1.0, 3e-6, 2.0]))["x"].round(2).tolist()
    [0.0, 0.28, 0.0]

    The 0.28 is a false alarm: for 3e-6, one of the two points, v − h, is beyond the kink at 0. What
    users call, tinycodec.check_gradients (machine/gradcheck.py), knows kinks and rounding, and is
    faster for large arrays: it first moves all entries at once, in a random direction."""
    y, cache = layer.forward(x)
    dy = np.random.default_rng(0).uniform(1, 2, y.shape)      # a dy near 0 would hide errors
    dx, grads = layer.backward(dy, cache)
    errors = {}
    for name, a, claimed in [("x", x, dx)] + [(n, p, grads[n]) for n, p in layer.params.items()]:
        numeric = np.empty_like(a)
        for i in np.ndindex(a.shape):
            v = a[i]
            a[i] = v + h                                   # in place: in x, or in layer.params
            above = dy * layer.forward(x)[0]
            a[i] = v - h
            below = dy * layer.forward(x)[0]
            # Subtracted before summing, so that outputs that do not depend on v cancel exactly.
            numeric[i] = np.sum(above - below) / (2 * h)
            a[i] = v
        scale = np.maximum(abs(claimed), abs(numeric)).clip(1e-9)        # not 0/0
        errors[name] = abs(claimed - numeric) / scale
    return errors
