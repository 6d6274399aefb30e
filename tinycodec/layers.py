"""Layers by hand. A layer is a dict `params` and two functions, as in CS231n:

    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)    # dy = ∂L/∂y; grads has the keys of layer.params

A layer keeps nothing of a batch, so threads may share it. The batch is the last axis. Vectors are
(D, N), one example per column, so that a dense layer is y = w x + b. Images are (H, C, W, N), not
(N, C, H, W): so the rows that a patch covers are one block of memory, and im2col copies less."""
import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def weights_and_biases(rng, shape, d_out, dtype):
    """w is uniform in ±√(6/(fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16), b is 0."""
    fan_in, fan_out = math.prod(shape[1:]), math.prod(shape[:-1])    # transposed: swapped, same sum
    bound = math.sqrt(6 / (fan_in + fan_out))
    return {"w": rng.uniform(-bound, bound, shape).astype(dtype), "b": np.zeros(d_out, dtype)}


class Dense:
    """y = w x + b: (D_in, N) -> (D_out, N)."""

    def __init__(self, d_in, d_out, rng, dtype=np.float32):
        self.params = weights_and_biases(rng, (d_out, d_in), d_out, dtype)

    def forward(self, x):
        return self.params["w"] @ x + self.params["b"][:, None], x

    def backward(self, dy, x):
        # y[o, n] = Σ_d w[o, d] x[d, n] + b[o]. By the chain rule dx[d, n] = Σ_o w[o, d] dy[o, n],
        # dw[o, d] = Σ_n dy[o, n] x[d, n], db[o] = Σ_n dy[o, n].
        return self.params["w"].T @ dy, {"w": dy @ x.T, "b": dy.sum(axis=1)}


class LeakyReLU:
    """y = x where x > 0, else slope·x: max(x, slope·x), as slope < 1 (Maas, Hannun & Ng 2013)."""

    def __init__(self, slope=0.2):
        self.params, self.slope = {}, slope

    def forward(self, x):
        y = self.slope * x
        return np.maximum(x, y, out=y), x

    def backward(self, dy, x):
        return dy * np.maximum(x > 0, self.slope, dtype=dy.dtype), {}  # True is 1. np.where is slow


# --- convolution: each output is a filter times a patch of the image -------------------------
# im2col copies the patches into the columns of a matrix, cols, so that the outputs are w @ cols.
# col2im adds each entry to the pixel it was copied from. For a row of 4 pixels, kernel 3, stride 2:
#
#     a b c d 0     im2col     a c           A D     col2im
#     └───┘          --->      b d           B E      --->     A  B  C+D  E    (F was padding)
#         └───┘                c 0           C F
#
# Both are linear maps. Through y = M x, the gradient is dx = Mᵀ dy: if x changes by a small δ, L
# changes by ⟨dy, M δ⟩ = ⟨Mᵀ dy, δ⟩, where ⟨a, b⟩ = Σ a·b. Mᵀ is called the adjoint of M. The M of
# im2col has a 1 where an entry is copied from a pixel, else 0. So Mᵀ adds each entry to the pixel
# it was copied from: it is col2im. And the adjoint of col2im is im2col.
#
# Conv2D is im2col, then a dense layer, w. Its adjoint, ConvTranspose2D, goes back in reverse: first
# wᵀ @, then col2im. So the gradient in wᵀ @ x is im2col(dy). What is left is as in Dense:
#     Conv2D             y = w @ im2col(x)       dx = col2im(wᵀ @ dy)     dw = dy @ im2col(x)ᵀ
#     ConvTranspose2D    y = col2im(wᵀ @ x)      dx = w @ im2col(dy)      dw = x @ im2col(dy)ᵀ
# There is one such product for each row of outputs (in ConvTranspose2D of x). dw sums over rows.

def same_padding(size, kernel, stride):
    """TensorFlow's "same" padding -> (outputs, zeros before, zeros after). An odd one is after."""
    outputs = math.ceil(size / stride)
    zeros = max((outputs - 1) * stride + kernel - size, 0)
    return outputs, zeros // 2, zeros - zeros // 2


def im2col(x, kernel, stride):
    """(H, C, W, N) -> cols, (H_out, kernel·kernel·C, W_out·N): a matrix for each row of outputs.

        for p in range(h_out):                                  # output row
            for i in range(kernel):                             # row in the patch
                for j in range(kernel):                         # column in the patch
                    for c in range(channels):
                        for q in range(w_out):                  # output column
                            cols[p, i, j, c, q, :] = padded[stride*p + i, c, stride*q + j, :]

    `padded` is x with zeros around it; : is the batch. The code takes two steps:

        rows[r, j, c, q, :] = padded[r, c, stride*q + j, :]         a copy: the drawing, for each r
        cols[p, i, j, c, q, :] = rows[stride*p + i, j, c, q, :]     a view: nothing is copied

    The rows stride*p … stride*p + kernel − 1 are one block of memory. Axes that are evenly spaced
    in it, as i, j, c are there, and q, n, become one axis without a copy. For Conv2D(1, 20, 5, 2)
    on (28, 1, 28, n), padded is (31, 1, 31, n), rows (31, 5, 1, 14, n), cols (14, 25, 14·n)."""
    height, channels, width, n = x.shape
    h_out, top, bottom = same_padding(height, kernel, stride)
    w_out, left, right = same_padding(width, kernel, stride)
    padded = np.zeros((top + height + bottom, channels, left + width + right, n), x.dtype)
    padded[top:top + height, :, left:left + width] = x
    rows = np.empty((len(padded), kernel, channels, w_out, n), x.dtype)
    for j in range(kernel):
        rows[:, j] = padded[:, :, j:j + stride * w_out:stride]
    cols = sliding_window_view(rows, kernel, axis=0)[::stride]     # its axes are p, j, c, q, n, i
    return np.moveaxis(cols, -1, 1).reshape(h_out, kernel * kernel * channels, -1)


def col2im(cols, shape, dtype, kernel, stride):
    """The adjoint of im2col: ⟨im2col(x), cols⟩ = ⟨x, col2im(cols)⟩. Each pixel sums its copies. In
    the same five loops:    padded[stride*p + i, c, stride*q + j, :] += cols[p, i, j, c, q, :]
    Then the padding is cut off, to `shape`. `cols` may be a generator over p."""
    height, channels, width, n = shape
    _, top, bottom = same_padding(height, kernel, stride)
    w_out, left, right = same_padding(width, kernel, stride)
    # The two steps of im2col, backwards: from cols to rows, then from rows to pixels.
    rows = np.zeros((top + height + bottom, kernel, channels, w_out, n), dtype)
    for p, matrix in enumerate(cols):
        rows[stride * p:stride * p + kernel] += matrix.reshape(kernel, kernel, channels, w_out, n)
    x = np.zeros((height, channels, left + width + right, n), dtype)
    for j in range(kernel):
        x[:, :, j:j + stride * w_out:stride] += rows[top:top + height, j]      # no padding rows
    return x[:, :, left:left + width]                                          # nor columns


def check_channels(x, channels):
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"expected images (H, {channels}, W, N), got {x.shape}")


class Conv2D:
    """y = w @ im2col(x) + b: (H, C_in, W, N) -> (⌈H/stride⌉, C_out, ⌈W/stride⌉, N). In w, (C_out,
    kernel, kernel, C_in), i, j and c have the order of im2col."""

    def __init__(self, c_in, c_out, kernel, stride, rng, dtype=np.float32, input_gradient=True):
        self.params = weights_and_biases(rng, (c_out, kernel, kernel, c_in), c_out, dtype)
        self.kernel, self.stride, self.input_gradient = kernel, stride, input_gradient

    def forward(self, x):
        w, b = self.params["w"], self.params["b"]
        check_channels(x, w.shape[3])
        cols = im2col(x, self.kernel, self.stride)
        y = w.reshape(len(w), -1) @ cols                   # for each row, (C_out, W_out·N)
        y += b[:, None]
        return y.reshape(*y.shape[:2], math.ceil(x.shape[2] / self.stride), -1), (cols, x.shape)

    def backward(self, dy, cache):
        w, (cols, x_shape) = self.params["w"], cache
        dy = dy.reshape(len(dy), len(w), -1)               # for each row, (C_out, W_out·N)
        # dw = dy @ colsᵀ, summed over the rows. As (cols @ dyᵀ)ᵀ it takes 13 % less time.
        dw = (cols @ dy.transpose(0, 2, 1)).sum(axis=0).T
        dx = None                                          # nobody needs the gradient of the data
        if self.input_gradient:                            # one product at a time fits the cache
            dcols = (w.reshape(len(w), -1).T @ row for row in dy)
            dx = col2im(dcols, x_shape, dy.dtype, self.kernel, self.stride)
        return dx, {"w": dw.reshape(w.shape), "b": dy.sum(axis=(0, 2))}


class ConvTranspose2D:
    """y = col2im(wᵀ @ x) + b: (H, C_in, W, N) -> (stride·H, C_out, stride·W, N). Each pixel of x
    adds its value times a filter to a patch of y; where patches overlap, they add up. Without b,
    this is the adjoint of a Conv2D(C_out, C_in) of the same w, (C_in, kernel, kernel, C_out)."""

    def __init__(self, c_in, c_out, kernel, stride, rng, dtype=np.float32):
        self.params = weights_and_biases(rng, (c_in, kernel, kernel, c_out), c_out, dtype)
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        w, b = self.params["w"], self.params["b"]
        check_channels(x, len(w))
        y_shape = self.stride * x.shape[0], len(b), self.stride * x.shape[2], x.shape[3]
        x = x.reshape(len(x), len(w), -1)                  # for each row, (C_in, W·N)
        cols = (w.reshape(len(w), -1).T @ row for row in x)
        y = col2im(cols, y_shape, x.dtype, self.kernel, self.stride)
        y += b[:, None, None]
        return y, x

    def backward(self, dy, x):                             # x as reshaped
        w = self.params["w"]
        dcols = im2col(dy, self.kernel, self.stride)
        dx = w.reshape(len(w), -1) @ dcols
        dw = (dcols @ x.transpose(0, 2, 1)).sum(axis=0).T  # x @ dcolsᵀ, as in Conv2D
        dx = dx.reshape(*x.shape[:2], dy.shape[2] // self.stride, -1)
        return dx, {"w": dw.reshape(w.shape), "b": dy.sum(axis=(0, 2, 3))}


class Reshape:
    """Give each example the shape `shape`; the batch stays last: (..., N) -> (*shape, N)."""

    def __init__(self, *shape):
        self.params, self.shape = {}, shape

    def forward(self, x):
        return x.reshape(*self.shape, x.shape[-1]), x.shape

    def backward(self, dy, x_shape):
        return dy.reshape(x_shape), {}


class Sequential:
    """Layers one after another. `params` are the layers' own, named "0.w", "0.b", "2.w", …"""

    def __init__(self, *layers):
        self.layers = layers

    @property
    def params(self):
        return {f"{i}.{key}": p
                for i, layer in enumerate(self.layers) for key, p in layer.params.items()}

    def forward(self, x):
        caches = []
        for layer in self.layers:
            x, cache = layer.forward(x)
            caches.append(cache)
        return x, caches

    def backward(self, dy, caches):
        grads = {}
        for i in reversed(range(len(self.layers))):
            dy, layer_grads = self.layers[i].backward(dy, caches[i])
            grads.update({f"{i}.{key}": g for key, g in layer_grads.items()})
        return dy, grads
