"""The convolutions that `Codec` uses: those of `tinycodec.layers`, but for rounding. All layers then take 0.87 of the time.

im2col copies each pixel kernel²/stride² times, 6.25 in this model. But images are (H, C, W, N), and successive rows are
one block of memory. So it is enough to copy along the width, 2.5 times: the rows of a patch are a matrix already.
"""
import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from .. import layers


def column_taps(width, kernel, stride):
    """For each kernel column j: (j, outputs q, input columns stride·q + j − left), both as slices of those that exist."""
    w_out, left, _ = layers.same_padding(width, kernel, stride)
    for j in range(kernel):
        first, last = max(0, -((j - left) // stride)), min(w_out - 1, (width - 1 - j + left) // stride)
        if first <= last:
            column = first * stride + j - left
            yield j, slice(first, last + 1), slice(column, last * stride + j - left + 1, stride)


def unfold(x, kernel, stride):
    """(H, C, W, N) -> (H_padded, kernel·C, W_out·N): rows[r, j, c, q, :] = padded[r, c, stride·q + j, :]."""
    height, channels, width, n = x.shape
    _, top, bottom = layers.same_padding(height, kernel, stride)
    w_out = math.ceil(width / stride)
    rows = np.zeros((top + height + bottom, kernel, channels, w_out, n), x.dtype)
    for j, q, columns in column_taps(width, kernel, stride):
        rows[top:top + height, j, :, q] = x[:, :, columns]
    return rows.reshape(len(rows), kernel * channels, w_out * n)


def fold(rows, x_shape, kernel, stride):
    """The adjoint of `unfold`, without padding: (H, kernel·C, W_out·N) -> (H, C, W, N), x_shape."""
    height, channels, width, n = x_shape
    rows = rows.reshape(height, kernel, channels, math.ceil(width / stride), n)
    x = np.zeros(x_shape, rows.dtype)
    for j, q, columns in column_taps(width, kernel, stride):
        x[:, :, columns] += rows[:, j, :, q]
    return x


def stacks(rows, size, step):
    """A view of rows (H, D, M), in C order, as matrices (size·D, M), of `size` successive rows each, every `step` rows."""
    row, line, entry = rows.strides
    shape = (len(rows) - size) // step + 1, size * rows.shape[1], rows.shape[2]
    return as_strided(rows, shape, (step * row, line, entry), writeable=False)


def adjoint(y, w, x_shape, stride):
    """col2im(wᵀ @ y), gathered: (H_out, C_out, W_out, N) -> (H, C_in, W, N), x_shape.

    Row h is seen by tap i of output row (h + top − i)/stride, if that is an integer. So the rows h = f, f + stride, … are
    a convolution, of stride 1, of y with every stride-th tap, the last first. With stride 2, kernel 5 and top = 1, row 0
    is seen by tap 1 of output row 0, so even rows get taps 3 and 1; row 1 by tap 0 of output row 1, so odd rows get taps
    4, 2 and 0. These are `stride` products, where col2im adds up copies that overlap.
    """
    kernel, channels = w.shape[1], w.shape[3]
    top = layers.same_padding(x_shape[0], kernel, stride)[1]
    pad = math.ceil(kernel / stride) - 1
    padded = np.zeros((pad + len(y) + pad, len(w), y.shape[2] * y.shape[3]), y.dtype)
    padded[pad:pad + len(y)] = y.reshape(len(y), *padded.shape[1:])
    rows = np.empty((x_shape[0], kernel * channels, padded.shape[2]), np.result_type(y, w))
    for f in range(min(stride, len(rows))):
        some = rows[f::stride]
        first, i = divmod(f + top, stride)                 # tap i of output row `first` sees row f
        if i >= kernel:                                    # the stride skips these rows
            some[...] = 0
            continue
        taps = w[:, i::stride][:, ::-1].transpose(2, 3, 1, 0)            # (kernel, C_in, taps, C_out)
        seen = stacks(padded, taps.shape[2], 1)[pad + first - taps.shape[2] + 1:]
        np.matmul(taps.reshape(kernel * channels, -1), seen[:len(some)], out=some)
    return fold(rows, x_shape, kernel, stride)


def weight_gradient(rows, y, w, stride):
    """Σ y @ im2col(x)ᵀ over the rows of y, given rows = unfold(x). As (im2col(x) @ yᵀ)ᵀ it takes 13 % less time."""
    y = y.reshape(len(y), len(w), y.shape[2] * y.shape[3])
    return (stacks(rows, w.shape[1], stride) @ y.transpose(0, 2, 1)).sum(axis=0).T.reshape(w.shape)


class Conv2D(layers.Conv2D):
    input_gradient = True                                  # False: dx is None

    def forward(self, x):
        w, b = self.params["w"], self.params["b"]
        layers.check_channels(x, w.shape[3])
        rows = unfold(x, self.kernel, self.stride)
        y = w.reshape(len(w), -1) @ stacks(rows, self.kernel, self.stride)
        y += b[:, None]
        return y.reshape(*y.shape[:2], math.ceil(x.shape[2] / self.stride), x.shape[3]), (rows, x.shape)

    def backward(self, dy, cache):
        w, (rows, x_shape) = self.params["w"], cache
        dx = adjoint(dy, w, x_shape, self.stride) if self.input_gradient else None
        return dx, {"w": weight_gradient(rows, dy, w, self.stride), "b": dy.sum(axis=(0, 2, 3))}


class ConvTranspose2D(layers.ConvTranspose2D):
    def forward(self, x):
        w, b = self.params["w"], self.params["b"]
        layers.check_channels(x, len(w))
        height, _, width, n = x.shape
        y = adjoint(x, w, (self.stride * height, len(b), self.stride * width, n), self.stride)
        y += b[:, None, None]
        return y, x

    def backward(self, dy, x):
        w = self.params["w"]
        rows = unfold(dy, self.kernel, self.stride)
        dx = w.reshape(len(w), -1) @ stacks(rows, self.kernel, self.stride)
        return dx.reshape(x.shape), {"w": weight_gradient(rows, x, w, self.stride), "b": dy.sum(axis=(0, 2, 3))}


FAST = {layers.Conv2D: Conv2D, layers.ConvTranspose2D: ConvTranspose2D}


def accelerate(network):
    """Give the convolutions of a Sequential the methods of this file. Layers and params stay the same objects."""
    for layer in network.layers:
        layer.__class__ = FAST.get(type(layer), type(layer))
