"""How many threads, and whose: ours, which share out the images, or the matrix library's?

Ours are faster, since element-wise work is shared out too; both at once are slower than either. So
the matrix library is asked for one thread while ours work, and given back what it had afterwards.
Neither the environment nor anybody's setting is read or changed for that.
"""
import ctypes
import os
from contextlib import contextmanager, suppress
from functools import lru_cache
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.linalg import _umath_linalg

FUNCTIONS = [(f"{p}openblas_get_num_threads{s}", f"{p}openblas_set_num_threads{s}")
             for p in ("scipy_", "") for s in ("64_", "")] + [("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]
BATCH = 96                     # images that are transformed at once (of many, 128 are 2 % faster; of one, 64 are 25 %)
lock, users, before = Lock(), 0, None


def cores():
    """The number of cores that this process may use, by its affinity and by a container's quota."""
    count = os.cpu_count() or 1                # or what Python was told that it is
    if hasattr(os, "sched_getaffinity"):
        count = min(count, len(os.sched_getaffinity(0)))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(count, -(-int(quota) // int(period))))
    except (OSError, ValueError):              # no such file, or a quota of "max"
        return count


def default_threads():
    """All cores, or 1 if the matrix library does not take orders: then its threads are all there are."""
    return cores() if library() else 1


@lru_cache
def library():
    """-> the functions that get and set NumPy's matrix library's number of threads, or None."""
    # The loader looks in an extension module's own libraries too, except on Windows.
    beside = Path(np.__file__).parent.parent / "numpy.libs"
    for path in (_umath_linalg.__file__, *map(str, beside.glob("*openblas*"))):
        loaded = ctypes.CDLL(path)
        for names in FUNCTIONS:
            if all(hasattr(loaded, name) for name in names):
                return tuple(getattr(loaded, name) for name in names)
    return None


@contextmanager
def workers(threads):
    """-> on_threads(function, items), the list that `map` would make, with one thread of the matrix library for each."""
    global users, before
    get, set_to = library() or (lambda: None, lambda n: None)
    with lock:
        if not users:                          # somebody else's workers may be at work already
            before = get()
            set_to(1)
        users += 1
    try:
        pool = None                            # as one thread is enough, or no other to be had: the caller does the work
        with suppress(RuntimeError, AttributeError):       # the latter if some could start (concurrent.futures' pool would
            pool = threads > 1 and ThreadPool(threads)     # take no work once the main thread has ended)

        def on_threads(function, items):
            return pool.map(function, items, chunksize=1) if pool else list(map(function, items))
        on_threads.threads = threads
        try:
            yield on_threads
        finally:
            if pool:                           # an interrupted one's threads are at work still, and a process that ends
                pool.terminate()               # while they are in the matrix library may hang for ever
                pool.join()
    finally:
        with lock:
            users -= 1
            if not users:
                set_to(before)


def parallel_map(function, items):
    """[function(item) for item in items], on all cores: for a single one, no thread has to be started."""
    with workers(min(default_threads(), len(items))) as on_threads:
        return on_threads(function, items)


def in_batches(function, a):
    """function(a), in batches of BATCH rows that share out the cores.

    The last batch is filled up with zeros: a matrix product may round differently at another shape, and what
    becomes of an image must not depend on how many others come with it.
    """
    def one(i):
        batch = a[i:i + BATCH]
        padding = np.zeros((BATCH - len(batch), *a.shape[1:]), a.dtype)
        return function(np.concatenate([batch, padding]))[:len(batch)]

    return np.concatenate(parallel_map(one, range(0, max(len(a), 1), BATCH)))
