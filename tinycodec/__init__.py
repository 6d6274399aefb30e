"""tinycodec: a learned image codec in NumPy.

    image ──g_a──▶ latents ──round──▶ integers ──range coder──▶ bytes
    image ◀──g_s── latents ◀───────── integers ◀──range coder── bytes

To read, in the order in which data flows:

    model.py      the transforms, the prior, and the loss with its gradients: page one
    layers.py     what the transforms are made of, forward and backward
    entropy.py    what a latent costs in bits, and how that changes
    training.py   Adam, the schedule, the loop
    coding.py     integers <-> bytes, by the book and by `constriction`
    codec.py      what users call
    gradcheck.py  is a gradient right?

The folders hold what surrounds the method: files, search, experiments, machine, mnist.
"""
from .codec import Codec
from .files.images import read_images, write_images
from .gradcheck import check_gradients
from .mnist import load_mnist
from .training import train

__all__ = ["Codec", "check_gradients", "load_mnist", "read_images", "train", "write_images"]
