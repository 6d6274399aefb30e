"""tinycodec: a learned image codec from scratch in NumPy."""
from importlib import import_module

HOMES = {"Codec": "codec", "check_gradients": "gradcheck", "load_mnist": "mnist", "read_images": "files.images",
         "train": "training", "write_images": "files.images"}
__all__ = list(HOMES)


def __getattr__(name):
    # Imported at their first use: `python -m tinycodec` imports this file before __main__.py can choose
    # how many threads NumPy is to have, and NumPy asks when it is imported (see tinycodec.machine).
    if name not in HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
