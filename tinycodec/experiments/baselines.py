"""What else could a digit be coded with? The best linear transform, and two everyday formats."""
import io

import numpy as np
from PIL import Image

from ..machine.rangecoder import GaussianRangeCoder


def principal_components(images, count=200):
    """-> mean (784,), directions of most variance (784, count), standard deviations along them."""
    x = images.reshape(len(images), 784) / np.float32(255)
    mean = x.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov(x, rowvar=False))
    order = variances.argsort()[::-1][:count]
    return mean, directions[:, order], np.sqrt(variances[order].clip(0))


class KLT:
    """Principal components and uniform quantisation: for a Gaussian source and squared error, the best
    that any *linear* transform can do.

    The Karhunen-Loève transform (Goyal 2001, "Theoretical foundations of transform coding") with
    the same Gaussian prior and the same range coder as the learned codec, without a file's header and
    checksums. Smaller steps spend more bits.
    """

    def __init__(self, components, step):
        self.mean, self.basis, deviation = components
        self.step = step
        sigma = np.maximum(deviation / step, 1e-3)
        self.coder = GaussianRangeCoder(sigma, limit=int(16 + 16 * sigma.max()))

    def compress(self, images):
        """uint8 (n, 28, 28) -> bytes."""
        y = (images.reshape(len(images), 784) / 255 - self.mean) @ self.basis / self.step
        return self.coder.encode(np.rint(y).clip(-self.coder.limit, self.coder.limit).astype(int), 0)

    def decompress(self, data, n):
        """Bytes from `compress` -> uint8 (n, 28, 28)."""
        x = self.coder.decode(data, n, 0) * self.step @ self.basis.T + self.mean
        return np.rint(255 * x).clip(0, 255).astype(np.uint8).reshape(n, 28, 28)


def through_pillow(image, **options):
    """A grey image through one of Pillow's formats: -> (number of bytes, the image decoded)."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, **options)
    return file.tell(), np.asarray(Image.open(file).convert("L"))
