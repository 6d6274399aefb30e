"""Is a hand-derived gradient right? Compare it with central differences, entry by entry."""
import copy

import numpy as np


def check_gradients(layer, x, tolerance=1e-6):
    """Check dx and every entry of `grads` of a layer (see tinycodec.layers) at the input x.

    In float64, whatever the types of `x` and `layer.params`, and on a copy of the layer, for a
    random linear function L = ⟨g, y⟩ of the output:  dL/dv ≈ ⟨g, y(v + h) − y(v − h)⟩ / 2h. Choose
    an `x` away from kinks, as of a leaky ReLU at 0, where there is no derivative to compare with.

    The layer's `forward` must read its parameters from `layer.params` ({} if it has none).

    Raises AssertionError that names the worst entry, if its error is more than `tolerance` of the
    larger of both values. (Values under a thousandth of the array's largest count as that much:
    they drown in the rounding error of the difference.)

    >>> from tinycodec.layers import Dense
    >>> rng = np.random.default_rng(0)
    >>> check_gradients(Dense(3, 2, rng), rng.normal(size=(3, 4)))
    """
    layer = copy.deepcopy(layer)
    layer.params = {name: np.array(p, np.float64) for name, p in layer.params.items()}
    x = np.array(x, np.float64)
    y, cache = layer.forward(x.copy())
    g = np.random.default_rng(0).normal(size=y.shape)
    dx, grads = layer.backward(g.copy(), cache)                 # copies, as a layer may work in place
    if set(grads) != set(layer.params):
        raise AssertionError(f"backward gives gradients of {sorted(grads)}, the parameters are {sorted(layer.params)}")

    worst, report = 0.0, None
    for name, array, gradient in [("x", x, dx)] + [(f"params[{n!r}]", p, grads[n]) for n, p in layer.params.items()]:
        if np.shape(gradient) != array.shape:
            raise AssertionError(f"the gradient of {name} has shape {np.shape(gradient)}, expected {array.shape}")
        numeric = np.empty_like(array)
        for i in np.ndindex(array.shape):
            numeric[i] = _central_difference(layer, x, array, i, g)
        floor = 1e-3 * max(np.abs(numeric).max(initial=0), np.abs(gradient).max(initial=0))
        error = np.abs(gradient - numeric) / np.maximum(np.maximum(np.abs(gradient), np.abs(numeric)), floor or 1)
        error = np.where(np.isnan(error), np.inf, error)
        if error.max(initial=0) > worst:
            i = np.unravel_index(error.argmax(), error.shape)
            worst, where = error[i], "".join(f"[{int(j)}]" for j in i)
            report = f"{name}{where}: backward gives {gradient[i]:.9g}, central differences {numeric[i]:.9g}"
    if worst > tolerance:
        raise AssertionError(f"wrong gradient at {report}, a relative error of {worst:.1e} > {tolerance:g}")


def _central_difference(layer, x, array, i, g):
    value, h = array[i], 1e-5 * max(1.0, abs(array[i]))
    array[i] = value + h
    above = layer.forward(x.copy())[0]
    array[i] = value - h
    below = layer.forward(x.copy())[0]
    array[i] = value
    return np.sum(g * (above - below)) / (2 * h)
