"""tinycodec: a learned image codec in NumPy.

    image ──g_a──▶ latents ──round──▶ integers ──range coder──▶ bytes
    image ◀──g_s── latents ◀───────── integers ◀──range coder── bytes

Latents are the few numbers that a network, g_a, makes of an image. Read model.py, layers.py,
entropy.py, training.py, coding.py, codec.py, gradcheck.py, in this order. Folders hold the tool."""
from .codec import Codec
from .files.images import read_images, write_images
from .gradcheck import check_gradients
from .mnist import load_mnist
from .training import train

__all__ = ["Codec", "check_gradients", "load_mnist", "read_images", "train", "write_images"]
