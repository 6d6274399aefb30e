"""Is a hand-derived gradient right? Compare it with central differences, entry by entry."""
import copy

import numpy as np


def central_difference(layer, x, array, i, g):
    """dL/dv ≈ ⟨g, y(v + h) − y(v − h)⟩ / 2h for the entry v = array[i] and L = ⟨g, y⟩."""
    value, h = array[i], 1e-5 * max(1.0, abs(array[i]))
    array[i] = value + h
    above = layer.forward(x.copy())[0]
    array[i] = value - h
    below = layer.forward(x.copy())[0]
    array[i] = value
    return np.sum(g * (above - below)) / (2 * h)


def relative_errors(gradient, numeric):
    """Errors as shares of the larger of both values. Values under a thousandth of the array's
    largest count as that much: they drown in the rounding error of the difference."""
    larger = np.maximum(np.abs(gradient), np.abs(numeric))
    floor = 1e-3 * np.fmax.reduce(larger, axis=None)       # of those that are numbers
    errors = np.abs(gradient - numeric) / np.maximum(larger, floor or 1)
    return np.where(np.isnan(errors), np.inf, errors)


def check_gradients(layer, x, tolerance=1e-6):
    """Check dx and every entry of `grads` of a layer (see tinycodec.layers) at the input x.

    In float64, whatever the types of `x` and `layer.params`, and on a copy of the layer, for a
    random linear function L = ⟨g, y⟩ of the output. Choose an `x` away from kinks, as of a leaky
    ReLU at 0: there is no derivative to compare with. `forward` must read its parameters from
    `layer.params` ({} if it has none). Raises AssertionError that names the worst entry, if its
    relative error is more than `tolerance`.

    >>> from tinycodec.layers import Dense
    >>> rng = np.random.default_rng(0)
    >>> check_gradients(Dense(3, 2, rng), rng.normal(size=(3, 4)))
    """
    layer = copy.deepcopy(layer)
    layer.params = {name: np.array(p, np.float64) for name, p in layer.params.items()}
    x = np.array(x, np.float64)
    y, cache = layer.forward(x.copy())
    g = np.random.default_rng(0).normal(size=y.shape)
    dx, grads = layer.backward(g.copy(), cache)            # copies, as a layer may work in place
    if set(grads) != set(layer.params):
        raise AssertionError(f"backward gives gradients of {sorted(grads)}, "
                             f"the parameters are {sorted(layer.params)}")
    checks = [("x", x, dx)] + [(f"params[{n!r}]", p, grads[n]) for n, p in layer.params.items()]
    worst, report = max((compare(layer, x, g, *check) for check in checks), key=lambda c: c[0])
    if worst > tolerance:
        raise AssertionError(f"wrong gradient at {report}, "
                             f"a relative error of {worst:.1e} > {tolerance:g}")


def compare(layer, x, g, name, array, gradient):
    """-> (largest relative error of the gradient of one array, where and what it is)."""
    if np.shape(gradient) != array.shape:
        raise AssertionError(f"the gradient of {name} has shape {np.shape(gradient)}, "
                             f"expected {array.shape}")
    if not array.size:
        return 0.0, ""
    numeric = np.empty_like(array)
    for i in np.ndindex(array.shape):
        numeric[i] = central_difference(layer, x, array, i, g)
    errors = relative_errors(gradient, numeric)
    i = np.unravel_index(errors.argmax(), errors.shape)
    where = "".join(f"[{int(j)}]" for j in i)
    return errors[i], (f"{name}{where}: backward gives {gradient[i]:.9g}, "
                       f"central differences {numeric[i]:.9g}")
