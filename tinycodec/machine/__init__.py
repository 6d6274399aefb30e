"""How many threads, and whose: ours, which share out the images, or the matrix library's?

Ours are faster, since element-wise work is shared out too; both at once are slower than either. So
the matrix library is asked for one thread while ours work, and given back what it had afterwards.
Neither the environment nor anybody's setting is read or changed for that.
"""
import ctypes
import os
from collections import deque
from contextlib import contextmanager, suppress
from functools import lru_cache, partial
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread

import numpy as np
from numpy.linalg import _umath_linalg

FUNCTIONS = [(f"{p}openblas_get_num_threads{s}", f"{p}openblas_set_num_threads{s}")
             for p in ("scipy_", "") for s in ("64_", "")] + [("MKL_Get_Max_Threads", "MKL_Set_Num_Threads")]
BATCH = 128                    # images that are transformed at once
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
    """-> on_threads(function, items), which is `share_out`, with one thread of the matrix library for each of ours."""
    global users, before
    get, set_to = library() or (lambda: None, lambda n: None)
    with lock:
        if not users:                          # somebody else's workers may be at work already
            before = get()
            set_to(1)
        users += 1
    jobs, others = SimpleQueue(), []
    try:
        with suppress(RuntimeError):           # the system starts no more threads: those that there are do it all
            for _ in range(threads - 1):
                other = Thread(target=work_off, args=[jobs], daemon=True)
                other.start()
                others.append(other)
        on_threads = partial(share_out, jobs, len(others))
        on_threads.threads = threads
        yield on_threads
    finally:
        for _ in others:
            jobs.put(None)
        for other in others:
            other.join()
        with lock:
            users -= 1
            if not users:
                set_to(before)


def work_off(jobs):
    for job in iter(jobs.get, None):
        job()


def share_out(jobs, others, function, items):
    """[function(item) for item in items], a list or range: this thread and `others` that work off `jobs` each take
    the next item when they are free. Raises the first error, when all have stopped."""
    todo, results, errors, ended = enumerate(items), [None] * len(items), [], SimpleQueue()

    def job():
        try:
            for i, item in todo:
                results[i] = function(item)
        except BaseException as error:         # Ctrl-C, too
            errors.append(error)
            deque(todo, 0)                     # nothing is left to the others
        finally:
            ended.put(None)

    for _ in range(others):
        jobs.put(job)
    job()
    for _ in range(others + 1):
        ended.get()
    if errors:
        raise errors.pop(0)
    return results


def parallel_map(function, items):
    """[function(item) for item in items], on all cores."""
    with workers(default_threads()) as on_threads:
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
