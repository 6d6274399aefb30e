"""Is a hand-derived gradient right? Compare it with differences, as in CS231n.

A fixed dy turns a layer's output y into a number, L = Σ dy·y. As ∂L/∂y = dy, backward(dy) claims
what ∂L/∂v is, for every entry v of x and of the parameters. Moving v by ±h tells what it must be:

    ∂L/∂v ≈ (L(v + h) − L(v − h)) / 2h

By Taylor's series, L(v ± h) = L ± h L′ + h² L″/2 ± h³ L‴/6 + …: the quotient is L′ + h² L‴/6 + ….
Rounding adds about 1e-16 y/h. If y, L′ and L‴ are about 1, both errors are 1e-11 with h = 1e-5. The
limit, `tolerance`, is 1e-6: far above these, far below mistakes, which are seldom below 1e-3."""
import numpy as np


def relative_errors(layer, x, h=1e-5):
    """-> {name: relative errors of all its entries}, for x and each parameter. All must be float64.

    >>> from tinycodec.layers import LeakyReLU
    >>> relative_errors(LeakyReLU(), np.array([-1.0, 3e-6, 2.0]))["x"].round(2).tolist()
    [0.0, 0.28, 0.0]

    The 0.28 is a false alarm: for 3e-6, one of the two points, x − h, is beyond the kink."""
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
            numeric[i] = np.sum(above - below) / (2 * h)   # exactly 0 for outputs without v
            a[i] = v
        scale = np.maximum(abs(claimed), abs(numeric)).clip(1e-9)        # not 0/0
        errors[name] = abs(claimed - numeric) / scale
    return errors


def check_gradients(layer, x, tolerance=1e-6, large=300):
    """Check all gradients of a layer (see layers.py) at x; of forward(*x), if x is a tuple.

    This is `relative_errors` of float64 copies, without its false alarms (machine/gradcheck.py). It
    returns the largest; if that is above `tolerance`, an AssertionError names the worst entry. On a
    kink, any value between the slopes of both sides is right. Arrays of integers, and inputs whose
    dx is None, are left out. To save time, an array a of more than `large` entries is moved as one,
    by ±h d, d random: (L(a + h d) − L(a − h d))/2h must be Σ d·∂L/∂a. If not, so are its halves."""
    from .machine.gradcheck import check
    return check(layer, x, tolerance, large)
