"""tinycodec: a learned image codec from scratch in NumPy."""
from .codec import Codec
from .gradcheck import check_gradients
from .mnist import load_mnist
from .training import train

__all__ = ["Codec", "check_gradients", "load_mnist", "train"]
