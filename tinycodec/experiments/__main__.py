import os

os.environ.pop("MPLBACKEND", None)     # a notebook's, perhaps: where it is not installed, importing matplotlib would fail
from .sweep import main

if __name__ == "__main__":
    main()
