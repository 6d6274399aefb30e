"""Calls of a reader's layer for the gradient check: on fresh copies, and what the layer lacks is said in one line."""
import copy

import numpy as np


def directions(shape):
    """Components ±(1 to 2): a small one could hide an error."""
    u = np.random.default_rng(0).uniform(-1, 1, shape)
    return u + np.sign(u)


def output(state, v, part, step):
    """Ends alarms of dropout, buffers, views, class attributes: y, copied, of a fresh copy, while v[part] is moved."""
    before = v.flat[part]
    v.flat[part] = before + step
    try:
        layer, xs = copy.deepcopy(state)
        return np.array(layer.forward(*xs)[0])
    finally:
        v.flat[part] = before


def pair(result, names):
    """Ends puzzling errors of unpacking: says what was expected, and what came."""
    if isinstance(result, (tuple, list)) and len(result) == 2:
        return result
    got = f"{len(result)} values" if isinstance(result, (tuple, list)) else f"one {type(result).__name__}"
    raise TypeError(f"expected a pair {names}, got {got}")


def parameters(layer):
    params = getattr(layer, "params", None) or {}
    if not isinstance(params, dict):
        raise TypeError(f"expected params, a dict of arrays, got one {type(params).__name__}")
    for key, p in params.items():           # a number in it cannot be moved in place, and two equal ones may be one object
        if not isinstance(p, np.ndarray):
            raise TypeError(f"expected params[{key!r}] to be an array, got one {type(p).__name__}")
    return params


def brackets(index):
    """(2, 3) -> "[2][3]"."""
    return "".join(f"[{i}]" for i in index)


def expect_finite(y):
    """Ends riddles of inf and NaN, which spoil all gradients at once: names the output."""
    if not np.isfinite(y).all():
        at = tuple(np.argwhere(~np.isfinite(y))[0])
        raise AssertionError(f"expected finite outputs from forward, got {y[at]} at y{brackets(at)}")


def run(layer, xs):
    """-> (the copy of the layer that ran, xs), y, g, and [(name, value, gradient of ⟨g, y⟩)]."""
    values = {f"x[{i}]" if isinstance(xs, tuple) else "x": v for i, v in enumerate(xs)}
    values |= {f"params[{key!r}]": p for key, p in parameters(layer).items()}
    layer, inputs = copy.deepcopy((layer, xs))
    y, cache = pair(layer.forward(*inputs), "(y, cache) from forward")
    if isinstance(y, (tuple, list, dict)):
        raise TypeError(f"expected one array y from forward, got a {type(y).__name__} of them")
    y, g = np.array(y), directions(np.shape(y))
    dx, grads = pair(layer.backward(g.copy(), cache), "(dx, grads) from backward")
    if isinstance(xs, tuple) and not isinstance(dx, (tuple, list, type(None))):
        raise TypeError(f"expected a tuple dx from backward, as x is one, got one {type(dx).__name__}")
    if isinstance(xs, tuple) and dx is not None and len(dx) > len(xs):
        raise TypeError(f"expected {len(xs)} gradients in dx from backward, got {len(dx)}")
    if not isinstance(grads, (dict, type(None))):
        raise TypeError(f"expected a dict of gradients from backward, got one {type(grads).__name__}")
    given = dict(zip(values, dx if isinstance(xs, tuple) and dx is not None else [dx] * len(xs)))
    given |= {f"params[{key!r}]": a for key, a in (grads or {}).items()}
    for name in values | given:
        shape, got = (np.shape(d[name]) if name in d else "none" for d in (values, given))
        if given.get(name, 0) is None:                     # no gradient: only a float parameter needs one
            got = None if name.startswith("params") and name in values and values[name].dtype.kind == "f" else shape
        if shape != got:
            raise AssertionError(f"expected a gradient of {name} of shape {shape}, got {got}")
    for name, v in values.items():
        if v.dtype.kind == "f" and v.dtype != float and given[name] is not None:     # it would not be checked
            raise TypeError(f"expected {name} to be one array, the same each time, got another one of {v.dtype} (pass float64)")
    arrays = [(name, v, np.array(given[name])) for name, v in values.items()
              if v.dtype == float and given[name] is not None]
    if not arrays:
        got = [f"{name} of {v.dtype}" + " without a gradient" * (given[name] is None) for name, v in values.items()]
        raise TypeError(f"nothing to check: expected floats that have a gradient, got {', '.join(got) or 'none'}")
    return (layer, xs), y, g, arrays
