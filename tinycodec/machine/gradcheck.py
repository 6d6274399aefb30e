"""What `check_gradients` adds to plain differences: no alarm by rounding, curvature, kinks, state, and no waiting."""
import copy

import numpy as np

from .layer_calls import brackets, directions, expect_finite, output, parameters, run


def rounding(pairs):
    """Ends alarms at gradients of 0: if values v are rounded, ⟨g, y⟩ is off by about ε |v ∂/∂v|."""
    products = [np.nan_to_num(v * a, posinf=0, neginf=0) for v, a in pairs]
    most = max(np.abs(p).max(initial=0) for p in products) or 1     # its square may be too large for float64
    return 1e-15 * most * sum(np.linalg.norm(p / most) for p in products)


def compare(f, claimed, noise, limit, alone, h=1e-5, most=np.inf):
    """Ends alarms of √x, log x, relu(x)² and kinks beside x: looks again, at a smaller step. There, what is off is a
    tenth of the noise, if it falls with h^power."""
    numeric = np.sum(f(h) - f(-h)) / (2 * h)
    off, allowed = abs(claimed - numeric), min(noise / h, most)
    error = off / (max(abs(claimed), abs(numeric)) + allowed / limit) if off else 0.0
    if h == 1e-5 and not error <= limit:
        power = 1 if alone else 2           # of many entries, less close: noise would hide an error in one
        again = (1e-5**power * noise / off / 10) ** (1 / (power + 1))
        return compare(f, claimed, noise, limit, alone, min(max(1e-9, again), 1e-6), off / 10)
    return np.nan_to_num(error, nan=np.inf), numeric


def at_kink(f, claimed, noise, limit):
    """Ends alarms at kinks, as of a ReLU at 0, where all between the slopes on both sides is right:
    -> 0 if right, 1 if not, 2 if there is no kink, as the slopes of each output do not stay as far apart."""
    far_left, far_right, left, right = ((f(h) - f(0)) / h for h in (-1e-6, 1e-6, -1e-8, 1e-8))
    low, high = np.minimum(left, right).sum(), np.maximum(left, right).sum()
    slack = noise / 1e-8 + limit * max(abs(low), abs(high))
    near, far = right - left, far_right - far_left
    kink = high - low > slack and abs(near - far).sum() < 0.5 * abs(far).sum()
    return (0 if low - slack <= claimed <= high + slack else 1) if kink else 2


def ignored(state, v):
    """Ends riddles where forward reads another array: does no entry of v change y?"""
    up, down = (output(state, v, np.arange(v.size), step * directions(v.size)) for step in (1e-3, -1e-3))
    return np.array_equal(up, down)


def search(state, g, noise, name, v, a, tolerance, large):
    """Ends waiting for large arrays: moves all of v at once, then halves of what disagrees, up to three errors.
    -> rank as in `at_kink`, error and report of the worst, whether a kink may excuse an error."""
    d, found, right = directions(v.size), [], 0.0
    parts = [np.arange(v.size)] if v.size > large else list(np.arange(v.size)[:, None])
    while parts and (v.size <= large or len(found) < 30 and sum(rank == 2 for rank, *_ in found) < 3):
        part = parts.pop()
        step, limit = d[part] / d[part[0]], tolerance / part.size
        claimed, f = a.flat[part] @ step, lambda t: g * output(state, v, part, t * step)
        error, numeric = compare(f, claimed, noise, limit, part.size == 1)
        if error <= limit:
            right = max(right, error)
        elif part.size > 1:
            parts += np.array_split(part, 2)
        else:
            where = brackets(np.unravel_index(part[0], v.shape))
            found.append((at_kink(f, claimed, noise, limit), error, f"{name}{where}: backward gives {claimed:.9g}, "
                          f"central differences {numeric:.9g}, a factor of {claimed / numeric:.{6 if error > 1e-5 else 12}g}"))
    rank, error, report = max(found, default=(0, right, ""))
    if rank and ignored(state, v):
        report += " (moving this array changes no output: does forward read it?)"
    count = f"{sum(r == rank for r, *_ in found)}{' or more' * bool(parts)} of {v.size} entries"
    return rank, error if rank else right, f"{report}; {count}", bool(found) and rank < 2


def search_all(state, y, g, arrays, tolerance, large):
    """Ends alarms at gradients of 0, as of x³ at 0, by a least noise of 1e-17."""
    noise = 1e-17 + rounding([(y, g), *((v, a) for _, v, a in arrays)])
    return [search(state, g, noise, *array, tolerance, large) for array in arrays]


def search_beside(state, arrays, tolerance, large):
    """Ends misses of errors that a kink excuses: searches where all arrays are moved by 1e-4. Ends alarms of NaN
    there: moves all up, or all down, until y and the gradients are finite. -> [] if they never are."""
    before = [v.copy() for _, v, _ in arrays]
    try:
        for to_side in (np.positive, np.abs, lambda d: -np.abs(d)):
            for (_, v, _), at in zip(arrays, before):
                v[...] = at + 1e-4 * to_side(directions(v.shape))
            _, y, g, moved = run(*state)
            if all(np.isfinite(a).all() for a in (y, *(a for *_, a in moved))):
                return search_all(state, y, g, moved, tolerance, large)
        return []
    finally:
        for (_, v, _), at in zip(arrays, before):
            v[...] = at                     # the user's own, if it is a class attribute


@np.errstate(all="ignore")
def check_gradients(layer, x, tolerance=1e-6, large=300):
    """Check all gradients of a layer (see layers.py) at x; if x is a tuple, of forward(*x).

    This is `tinycodec.gradcheck.relative_errors` of float64 copies, with far fewer false alarms. It returns the largest
    relative error. If that is above `tolerance`, an AssertionError names the worst entry. What rounding of the largest
    values may cause is no error. At a kink, any value between the slopes on both sides is right. Arrays of integers, and
    inputs whose dx is None, are left out.

    An array a of more than `large` entries would take long. So all of it is moved at once, by ±h d with a random d:
    (L(a + h d) − L(a − h d))/2h must be Σ d·∂L/∂a. If it is not, each half is moved, and so on, to find the wrong entries.
    """
    if not tolerance > 0:
        raise ValueError(f"expected a positive tolerance, got {tolerance!r}")
    xs = tuple(map(np.array, x)) if isinstance(x, tuple) else [np.array(x)]     # copies: x may be (a, a)
    values = [*xs, *parameters(layer).values()]
    memo = {id(v): np.array(v, float) for v in values if np.asarray(v).dtype.kind == "f"}
    state, *_ = run(*copy.deepcopy((layer, xs), memo))      # now, gradients that add up are wrong
    (_, y, g, arrays), (_, again, *_) = run(*state), run(*state)
    expect_finite(y)
    if not np.allclose(y, again, rtol=1e-9, equal_nan=True):
        raise AssertionError("forward gives different outputs for the same input")
    found, beside = search_all(state, y, g, arrays, tolerance, large), []
    if any(kinks for *_, kinks in found) and max(found)[0] < 2:
        beside = search_beside(state, arrays, tolerance, large)
    rank, error, report, _ = max(found + beside)
    if rank:
        if beside:
            report += (" (beside it, all is right)", "", " (all moved by 1e-4, off kinks)")[max(beside)[0]]
        whole = np.array_equal(1024 * y, np.rint(1024 * y))     # float32 holds integers and halves in any case
        hint = " (float32 inside the layer?)" * (not whole and np.array_equal(y, y.astype(np.float32)))
        raise AssertionError(f"{'wrong gradient at' if rank == 2 else 'on a kink,'} {report}{hint}")
    return float(error)
