import os
from pathlib import Path

import numpy as np
import pytest

import tinycodec as tc
from tinycodec import machine


def pytest_configure(config):
    os.chdir(Path(__file__).parent.parent)                 # from wherever it is called, processes find the package
    if machine.library():                                  # its threads wait for each other, busily, where cores are busy
        machine.library()[1](1)
    # Overflow and invalid values anywhere, and deprecated calls of ours, are failures.
    config.addinivalue_line("filterwarnings", "error::RuntimeWarning")
    config.addinivalue_line("filterwarnings", "error:::tinycodec")


@pytest.fixture
def rng():
    return np.random.default_rng(1)


@pytest.fixture(scope="session")
def mnist():
    return tc.load_mnist()


@pytest.fixture(scope="session")
def training(mnist):
    """(codec, history) of a training of a few seconds; tests must not change them."""
    codec = tc.Codec(latent_dims=20, seed=0)
    return codec, tc.train(codec, mnist[0][:2400], lmbda=2500, epochs=2, batch=32, progress=False)


@pytest.fixture(scope="session")
def codec(training):
    return training[0]
