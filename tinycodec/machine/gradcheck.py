"""What `check_gradients` adds to plain differences: no alarm by rounding, curvature, kinks, state, and no waiting."""
import copy

import numpy as np


def directions(shape):
    """Components ±(1 to 2): a small one could hide an error."""
    u = np.random.default_rng(0).uniform(-1, 1, shape)
    return u + np.sign(u)


def rounding(pairs):
    """Ends alarms at gradients of 0: if values v are rounded, ⟨g, y⟩ is off by about ε |v ∂/∂v|."""
    return 1e-15 * sum(np.linalg.norm(np.where(np.isfinite(a), v * a, 0)) for v, a in pairs)


def compare(f, claimed, noise, limit, h=1e-5, most=np.inf):
    """Ends alarms of √x, log x and kinks beside x: looks again, at a step just above the noise."""
    numeric = np.sum(f(h) - f(-h)) / (2 * h)
    off, allowed = abs(claimed - numeric), min(noise / h, most)
    error = off / (max(abs(claimed), abs(numeric)) + allowed / limit) if off else 0.0
    if h == 1e-5 and not error <= limit:
        return compare(f, claimed, noise, limit, min(max(1e-9, 100 * noise / off), 1e-6), off / 10)
    return np.nan_to_num(error, nan=np.inf), numeric


def at_kink(f, claimed, noise, limit):
    """Ends alarms at kinks, as of a ReLU at 0, where all between the slopes on both sides is right:
    -> 0 if right, 1 if not, 2 if there is no kink, as the slopes do not stay as far apart."""
    far_left, far_right, left, right = ((f(h) - f(0)) / h for h in (-1e-6, 1e-6, -1e-8, 1e-8))
    low, high = np.minimum(left, right).sum(), np.maximum(left, right).sum()
    slack = noise / 1e-8 + limit * max(abs(low), abs(high))
    kink = high - low > slack and 0.5 < (high - low) / abs(far_right - far_left).sum() < 2
    return (0 if low - slack <= claimed <= high + slack else 1) if kink else 2


def output(state, v, part, step):
    """Ends alarms of dropout, buffers and views: y, copied, of a fresh copy, with v[part] moved."""
    before = v.flat[part]
    v.flat[part] = before + step
    layer, xs = copy.deepcopy(state)
    v.flat[part] = before
    return np.array(layer.forward(*xs)[0])


def run(layer, xs):
    """-> (the copy of the layer that ran, xs), y, g, and [(name, value, gradient of ⟨g, y⟩)]."""
    values = {f"x[{i}]" if isinstance(xs, tuple) else "x": v for i, v in enumerate(xs)}
    values |= {f"params[{key!r}]": p for key, p in getattr(layer, "params", {}).items()}
    layer, inputs = copy.deepcopy((layer, xs))
    y, cache = layer.forward(*inputs)
    if isinstance(y, (tuple, list)):
        raise TypeError(f"expected one array y from forward, got a {type(y).__name__} of them")
    y, g = np.array(y), directions(np.shape(y))
    dx, grads = layer.backward(g.copy(), cache)
    given = dict(zip(values, dx if isinstance(xs, tuple) and dx is not None else [dx] * len(xs)))
    given |= {f"params[{key!r}]": a for key, a in (grads or {}).items()}
    for name in values | given:
        shape, got = (np.shape(d[name]) if name in d else "none" for d in (values, given))
        if shape != got and given.get(name, 0) is not None:
            raise AssertionError(f"expected a gradient of {name} of shape {shape}, got {got}")
    return (layer, xs), y, g, [(name, v, np.array(given[name])) for name, v in values.items()
                               if v.dtype == float and given[name] is not None]


def search(state, g, noise, name, v, a, tolerance, large):
    """Ends waiting for large arrays: moves all of v at once, then halves of what disagrees.
    -> rank as in `at_kink`, error and report of the worst, whether too many entries disagree."""
    d, found, right = directions(v.size), [], 0.0
    parts = [np.arange(v.size)] if v.size > large else list(np.arange(v.size)[:, None])
    while parts and (v.size <= large or len(found) < 30):
        part = parts.pop()
        step, limit = d[part] / d[part[0]], tolerance / part.size
        claimed, f = a.flat[part] @ step, lambda t: g * output(state, v, part, t * step)
        error, numeric = compare(f, claimed, noise, limit)
        if error <= limit:
            right = max(right, error)
        elif part.size > 1:
            parts += np.array_split(part, 2)
        else:
            where = "".join(f"[{i}]" for i in np.unravel_index(part[0], v.shape))
            found.append((at_kink(f, claimed, noise, limit), error, f"{name}{where}: backward "
                          f"gives {claimed:.9g}, central differences {numeric:.9g}, a factor of "
                          f"{claimed / numeric:.6g}"))
    rank, error, report = max(found, default=(0, right, ""))
    count = f"{sum(r == rank for r, *_ in found)}{' or more' * bool(parts)} of {v.size} entries"
    return rank, error if rank else right, f"{report}; {count}", bool(parts) and rank < 2


@np.errstate(all="ignore")
def check(layer, x, tolerance, large):
    """-> the largest relative error; see `tinycodec.check_gradients`."""
    xs = tuple(map(np.asarray, x)) if isinstance(x, tuple) else [np.asarray(x)]
    values = [*xs, *getattr(layer, "params", {}).values()]
    memo = {id(v): np.array(v, float) for v in values if np.asarray(v).dtype.kind == "f"}
    state, *_ = run(*copy.deepcopy((layer, xs), memo))      # now, gradients that add up are wrong
    (_, y, g, checks), (_, again, *_) = run(*state), run(*state)
    if not np.allclose(y, again, rtol=1e-9, equal_nan=True):
        raise AssertionError("forward gives different outputs for the same input")
    noise = rounding([(y, g), *((v, a) for _, v, a in checks)])
    found = [search(state, g, noise, *array, tolerance, large) for array in checks]
    if any(more for *_, more in found):       # not all its kinks were seen: also beside x
        for _, v, _ in checks:
            v += 1e-4 * directions(v.shape)
        found += [search(state, g, noise, *array, tolerance, large) for array in run(*state)[3]]
    rank, error, report, _ = max(found, default=(0, 0.0, "", False))
    if rank:
        hint = " (float32 inside the layer?)" * np.array_equal(y, y.astype(np.float32))
        raise AssertionError(f"{'wrong gradient at' if rank == 2 else 'on a kink,'} {report}{hint}")
    return float(error)
