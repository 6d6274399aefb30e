"""Is a hand-derived gradient right? The first function compares, the others end false alarms."""
import copy

import numpy as np


def central_difference(f, h):
    """f'(0) ≈ (f(h) − f(−h)) / 2h, summed over the entries of f."""
    return np.sum(f(h) - f(-h)) / (2 * h)


def rounding(pairs):
    """Ends alarms at gradients of 0: as values v are rounded, ⟨g, y⟩ is off by about ε |v ∂/∂v|."""
    return 1e-15 * sum(np.linalg.norm(np.where(np.isfinite(a), v * a, 0)) for v, a in pairs)


def compare(f, claimed, noise, tolerance, h=1e-5, most=np.inf):
    """Ends alarms of √x, log x and kinks beside x: looks again, at a step just above the noise."""
    numeric = central_difference(f, h)
    off, allowed = abs(claimed - numeric), min(noise / h, most)
    error = off / (max(abs(claimed), abs(numeric)) + allowed / tolerance) if off else 0.0
    if h == 1e-5 and not error <= tolerance:
        smaller = min(max(1e-9, 100 * noise / off), 1e-6)
        return compare(f, claimed, noise, tolerance, smaller, off / 10)
    return np.nan_to_num(error, nan=np.inf), numeric


def at_kink(f, claimed, noise, tolerance):
    """Ends alarms at kinks, as of a ReLU at 0, where all between the slopes on both sides is right:
    -> 0 if right, 1 if not, 2 if there is no kink, as the slopes do not stay as far apart."""
    far_left, far_right, left, right = ((f(h) - f(0)) / h for h in (-1e-6, 1e-6, -1e-8, 1e-8))
    low, high = np.minimum(left, right).sum(), np.maximum(left, right).sum()
    slack = noise / 1e-8 + tolerance * max(abs(low), abs(high))
    kink = high - low > slack and 0.5 < (high - low) / abs(far_right - far_left).sum() < 2
    return 2 if not kink else int(not low - slack <= claimed <= high + slack)


def output(layer, xs, v, part, step):
    """Ends alarms of dropout, buffers and views: y, copied, of a fresh copy, with v[part] moved."""
    before = v.flat[part]
    v.flat[part] = before + step
    layer, moved = copy.deepcopy((layer, xs))
    v.flat[part] = before
    return np.array(layer.forward(*moved)[0])


def run(layer, xs):
    """-> the copy of the layer that ran, y, g, and [(name, value, gradient of ⟨g, y⟩)]."""
    values = {f"x[{i}]" if isinstance(xs, tuple) else "x": v for i, v in enumerate(xs)}
    values |= {f"params[{key!r}]": p for key, p in getattr(layer, "params", {}).items()}
    layer, inputs = copy.deepcopy((layer, xs))
    y, cache = layer.forward(*inputs)
    if isinstance(y, (tuple, list)):
        raise TypeError(f"expected one array y from forward, got a {type(y).__name__} of them")
    y, g = np.array(y), np.random.default_rng(0).uniform(1, 2, np.shape(y))
    dx, grads = layer.backward(g.copy(), cache)
    given = dict(zip(values, dx if isinstance(xs, tuple) and dx is not None else [dx] * len(xs)))
    given |= {f"params[{key!r}]": a for key, a in (grads or {}).items()}
    for name, v in values.items():
        shape = np.shape(given[name]) if name in given else "none"
        if shape != v.shape and given.get(name, 0) is not None:
            raise AssertionError(f"expected a gradient of {name} of shape {v.shape}, got {shape}")
    return layer, y, g, [(name, v, np.array(given[name])) for name, v in values.items()
                         if v.dtype == float and given[name] is not None]


def search(layer, xs, g, noise, name, v, a, tolerance, large):
    """Ends waiting for large arrays: all of v moves at once, then halves of what disagrees, by 1 to
    2 times t. -> rank as in `at_kink`, error, report of the worst, whether too many disagree."""
    d, found, right = np.random.default_rng(0).uniform(1, 2, v.size), [], 0.0
    parts = [np.arange(v.size)] if v.size > large else list(np.arange(v.size)[:, None])
    while parts and (v.size <= large or len(found) < 30):
        part = parts.pop()
        step = d[part] / d[part[0]]           # 1 for a single entry
        claimed, f = a.flat[part] @ step, lambda t: g * output(layer, xs, v, part, t * step)
        error, numeric = compare(f, claimed, noise, tolerance / part.size)
        if error <= tolerance / part.size:
            right = max(right, error)
        elif part.size > 1:
            parts += np.array_split(part, 2)
        else:
            where = "".join(f"[{i}]" for i in np.unravel_index(part[0], v.shape))
            found.append((at_kink(f, claimed, noise, tolerance), error, f"{name}{where}: backward "
                          f"gives {claimed:.9g}, central differences {numeric:.9g}, a factor of "
                          f"{claimed / numeric:.6g}"))
    rank, error, report = max(found, default=(0, right, ""))
    count = f"{sum(r == rank for r, *_ in found)}{' or more' * bool(parts)} of {v.size} entries"
    return rank, error if rank else right, f"{report}; {count}", bool(parts) and rank < 2


@np.errstate(all="ignore")
def check_gradients(layer, x, tolerance=1e-6, large=300):
    """Check all gradients of a layer (see tinycodec.layers) at x; if a tuple, of forward(*x).

    backward(g) must be the gradient of ⟨g, y⟩; of integers there is none. Returns its largest relative
    error. AssertionError names the worst entry that no `tolerance`, rounding or kink explains.

    >>> from tinycodec.layers import LeakyReLU
    >>> error = check_gradients(LeakyReLU(), np.array([-1.0, 0.0, 2.0]))
    """
    xs = tuple(map(np.asarray, x)) if isinstance(x, tuple) else [np.asarray(x)]
    values = [*xs, *getattr(layer, "params", {}).values()]
    memo = {id(v): np.array(v, float) for v in values if np.asarray(v).dtype.kind == "f"}
    layer, xs = copy.deepcopy((layer, xs), memo)
    layer, *_ = run(layer, xs)                # gradients that add up over calls are now wrong
    (_, y, g, checks), (_, again, *_) = run(layer, xs), run(layer, xs)
    if not np.allclose(y, again, rtol=1e-9, equal_nan=True):
        raise AssertionError("forward gives different outputs for the same input")
    noise = rounding([(y, g), *((v, a) for _, v, a in checks)])
    found = [search(layer, xs, g, noise, *check, tolerance, large) for check in checks]
    rank, error, report, _ = max(found, default=(0, 0.0, "", False))
    if any(more for *_, more in found):       # beside x, there are fewer kinks
        for _, v, _ in checks:
            v += np.random.default_rng(0).uniform(1e-4, 2e-4, v.shape)
        x = xs if isinstance(x, tuple) else xs[0]
        error = max(error, check_gradients(layer, x, tolerance, large))
    if rank:
        hint = " (float32 inside the layer?)" * np.array_equal(y, y.astype(np.float32))
        raise AssertionError(f"{'wrong gradient at' if rank == 2 else 'on a kink,'} {report}{hint}")
    return float(error)
