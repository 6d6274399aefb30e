"""What several tests need and is no fixture."""
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np

import tinycodec as tc
from tinycodec import machine, search
from tinycodec.files.checkpoint import Checkpoint
from tinycodec.layers import Dense

GEOMETRIES = [(height, width, kernel, stride)              # of convolutions
              for height, width in [(8, 8), (7, 9), (5, 6), (1, 3), (2, 1)]
              for kernel, stride in [(5, 2), (3, 1), (4, 3), (1, 1), (2, 3), (1, 2), (6, 4)]]


class Deeper(tc.Codec):
    """A codec with a layer of its own."""

    def __init__(self, latent_dims=3, seed=0):
        super().__init__(latent_dims, seed)
        self.g_a.layers.append(Dense(self.latent_dims, self.latent_dims, np.random.default_rng(seed)))


@contextmanager
def batches_of(n):
    """So many images are transformed, and searched, at once."""
    with patch.object(machine, "BATCH", n), patch.object(search, "BATCH", n):
        yield


class Stop(KeyboardInterrupt):
    """A Ctrl-C of ours: a real one is not caught with it."""


@contextmanager
def stopped_after(steps):
    """A training ends with Stop as soon as its checkpoint holds so many steps."""
    def save(self, history):
        original(self, history)
        if len(history) == steps:
            raise Stop

    original = Checkpoint.save
    with patch.object(Checkpoint, "save", save):
        yield
