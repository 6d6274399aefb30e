"""What else could a digit be coded with? The best linear transform, and two everyday formats."""
import io
import zlib

import numpy as np
from PIL import Image

from . import container
from .rangecoder import GaussianRangeCoder


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
    the same Gaussian prior and the same range coder as the learned codec. Smaller steps spend more
    bits. `compress` and `decompress` are a real codec with real bytes.
    """

    def __init__(self, components, step):
        self.mean, self.basis, deviation = components
        self.step = step
        sigma = np.maximum(deviation / step, 1e-3)
        self.coder = GaussianRangeCoder(sigma, limit=int(16 + 16 * sigma.max()))
        self.fingerprint = zlib.crc32(self.basis.tobytes() + np.float64(step).tobytes()).to_bytes(8, "little")

    def compress(self, images):
        """uint8 (n, 28, 28) -> bytes."""
        y = (images.reshape(len(images), 784) / 255 - self.mean) @ self.basis / self.step
        k = np.rint(y).clip(-self.coder.limit, self.coder.limit).astype(int)
        chunks = [self.coder.encode(k[part], 0) for part in container.chunk_slices(len(k))]
        return container.pack("round", 0, len(k), self.fingerprint, chunks)

    def decompress(self, data):
        """Bytes from `compress` -> uint8 (n, 28, 28). Raises ValueError as `Codec.decompress` does."""
        stream = container.unpack(data, self.fingerprint)
        k = np.zeros((stream.n, len(self.coder.std)), int)
        for part, chunk in zip(container.chunk_slices(stream.n), stream.chunks):
            k[part] = self.coder.decode(chunk, part.stop - part.start, 0)
        x = k * self.step @ self.basis.T + self.mean
        return np.rint(255 * x).clip(0, 255).astype(np.uint8).reshape(stream.n, 28, 28)


def through_pillow(image, **options):
    """A grey image through one of Pillow's formats: -> (number of bytes, the image decoded)."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, **options)
    return file.tell(), np.asarray(Image.open(file).convert("L"))
