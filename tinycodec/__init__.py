"""tinycodec: a learned image codec in NumPy.

    image ──g_a──▶ latents ── −μ, round ──▶ integers ──range coder──▶ bytes
                                                          ▲▼ prior: how probable is each integer?
    image ◀──g_s── latents ◀───── +μ ────── integers ◀──range coder── bytes

Latents are 50 numbers for a digit, μ the means of their priors; g_a (analysis) and g_s (synthesis)
are networks. Read model, layers, entropy, training, coding, codec, gradcheck, in this order.
The folders hold the tool: users' `Codec` is in files/codec.py, `train` in machine/session.py."""
from .files.codec import Codec
from .files.images import read_images, write_images
from .machine.gradcheck import check_gradients
from .machine.session import train
from .mnist import load_mnist

__all__ = ["Codec", "check_gradients", "load_mnist", "read_images", "train", "write_images"]
