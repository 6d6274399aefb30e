"""How many threads: either the matrix library spreads each product over the cores, or we spread
the images. The latter is faster, since element-wise work is spread too; both at once is slower
than either. A matrix library reads its thread count from the environment when NumPy is first
imported, so a program that wants the fast way says so before that, as demo.py does:

    import os
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
"""
import os
from concurrent.futures import ThreadPoolExecutor

LIBRARY_SETTINGS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def default_threads():
    """All cores if the matrix library was told to use one, else 1."""
    if any(os.environ.get(name) == "1" for name in LIBRARY_SETTINGS):
        return os.cpu_count()
    return 1


def parallel_map(function, items, threads):
    """[function(item) for item in items], on `threads` threads."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, items))
