"""Layers by hand. A layer is a dict `params` and two functions, as in CS231n:

    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)    # dy is ∂L/∂y, L the loss; grads: as params

A layer keeps nothing of a batch, so threads may share it. The batch is the last axis. Vectors are
(D, N), one example per column, so that a dense layer is y = w x + b. Images are (H, C, W, N), for
height, channels, width, batch. (`Codec` has faster convolutions: machine/convolution.py.)"""
import math

import numpy as np


def weights_and_biases(rng, shape, d_out, dtype):
    """w is uniform in ±√(6/(fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16), and b is 0."""
    bound = math.sqrt(6 / (math.prod(shape[1:]) + math.prod(shape[:-1])))     # fan_in + fan_out
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
        # The slope is 1 where x > 0 (True is 1), else `slope`. (np.where takes 9 times as long.)
        return dy * (self.slope + (1 - self.slope) * (x > 0).astype(dy.dtype)), {}


# --- convolution: each output is the dot product of a filter and a patch of the image --------
# im2col copies the patches into the columns of a matrix, cols, so that the outputs are w @ cols.
# col2im takes any such matrix (∂L/∂cols, say), and adds each entry to the pixel that im2col would
# have copied to its place. For a row of 4 pixels, kernel 3, stride 2:
#
#     a b c d 0     im2col     a c     │     1 4     col2im
#     └───┘          --->      b d     │     2 5      --->     1  2  3+4  5    (6 is padding's)
#         └───┘                c 0     │     3 6
#
# Read column by column, cols is (a, b, c, c, d, 0): im2col is linear, a matrix M with rows 1000,
# 0100, 0010, 0010, 0001, 0000. Its transpose Mᵀ turns (1, …, 6) into (1, 2, 3+4, 5): it is col2im.
# Mᵀ, called the adjoint of M, takes gradients back. If cols = M x, and x changes by a small δ, cols
# changes by M δ, and L by dcols · (M δ) = (Mᵀ dcols) · δ. So dx = Mᵀ dcols, for any matrix M.
#
# Conv2D, without b, is A M, where A applies w to each column. Its adjoint is (A M)ᵀ = Mᵀ Aᵀ: wᵀ for
# each column, then col2im: ConvTranspose2D's forward, without b. Its own adjoint is A M again:
#
#     Conv2D             cols = im2col(x)       y = w @ cols
#                        dcols = wᵀ @ dy        dx = col2im(dcols)     dw = dy @ colsᵀ
#     ConvTranspose2D    cols = wᵀ @ x          y = col2im(cols)
#                        dcols = im2col(dy)     dx = w @ dcols         dw = x @ dcolsᵀ
#
# (For cols = wᵀ @ x, Dense's rule gives the gradient of wᵀ, dcols @ xᵀ. Its transpose is dw.)
# In the code, cols is a stack of such matrices, one for each image row of y (in ConvTranspose2D, of
# x), and w @ cols multiplies each. In the first layer, (20, 25) @ (14, 25, 14·n) is (14, 20, 14·n):
# y with its last two axes as one. That is why images are (H, C, W, N). The dw of all are summed.

def same_padding(size, kernel, stride):
    """TensorFlow's "same" padding -> (outputs, zeros before, zeros after: as many, or one more)."""
    outputs = math.ceil(size / stride)
    zeros = max((outputs - 1) * stride + kernel - size, 0)
    return outputs, zeros // 2, zeros - zeros // 2


def im2col(x, kernel, stride):
    """(H, C, W, N) -> cols, (H_out, kernel·kernel·C, W_out·N): a matrix for each output row p.

        for p in range(h_out):                                  # output row
            for i in range(kernel):                             # row in the patch
                for j in range(kernel):                         # column in the patch
                    for c in range(channels):
                        for q in range(w_out):                  # output column
                            cols[p, i, j, c, q, :] = padded[stride*p + i, c, stride*q + j, :]

    `padded` is x with zeros around it; : is the batch. In the code one slice does all p, c and q.
    In the end, (i, j, c) becomes one axis, and (q, batch) another. For Conv2D(1, 20, 5, 2) and x of
    shape (28, 1, 28, n), padded is (31, 1, 31, n), and cols (14, 25, 14·n)."""
    height, channels, width, n = x.shape
    h_out, top, bottom = same_padding(height, kernel, stride)
    w_out, left, right = same_padding(width, kernel, stride)
    padded = np.zeros((top + height + bottom, channels, left + width + right, n), x.dtype)
    padded[top:top + height, :, left:left + width] = x
    cols = np.empty((h_out, kernel, kernel, channels, w_out, n), x.dtype)
    for i in range(kernel):
        for j in range(kernel):
            cols[:, i, j] = padded[i:i + stride * h_out:stride, :, j:j + stride * w_out:stride]
    return cols.reshape(h_out, kernel * kernel * channels, w_out * n)


def col2im(cols, x_shape, kernel, stride):
    """The adjoint of im2col, -> (H, C, W, N): each pixel gets the sum of its copies in `cols`. In
    the same five loops:    padded[stride*p + i, c, stride*q + j, :] += cols[p, i, j, c, q, :]"""
    height, channels, width, n = x_shape
    h_out, top, bottom = same_padding(height, kernel, stride)
    w_out, left, right = same_padding(width, kernel, stride)
    cols = cols.reshape(h_out, kernel, kernel, channels, w_out, n)
    padded = np.zeros((top + height + bottom, channels, left + width + right, n), cols.dtype)
    for i in range(kernel):
        for j in range(kernel):
            padded[i:i + stride * h_out:stride, :, j:j + stride * w_out:stride] += cols[:, i, j]
    return padded[top:top + height, :, left:left + width]


def check_channels(x, channels):
    if x.ndim != 4 or x.shape[1] != channels:
        raise ValueError(f"expected images (H, {channels}, W, N), got {x.shape}")


class Conv2D:
    """y = w @ im2col(x) + b: (H, C_in, W, N) -> (⌈H/stride⌉, C_out, ⌈W/stride⌉, N). w is
    (C_out, kernel, kernel, C_in): its last three axes are im2col's i, j, c."""

    def __init__(self, c_in, c_out, kernel, stride, rng, dtype=np.float32):
        self.params = weights_and_biases(rng, (c_out, kernel, kernel, c_in), c_out, dtype)
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        w, b = self.params["w"], self.params["b"]
        c_out, _, _, c_in = w.shape
        check_channels(x, c_in)
        height, _, width, n = x.shape
        y_shape = math.ceil(height / self.stride), c_out, math.ceil(width / self.stride), n
        cols = im2col(x, self.kernel, self.stride)
        y = w.reshape(c_out, -1) @ cols + b[:, None]       # (H_out, C_out, W_out·N)
        return y.reshape(y_shape), (cols, x.shape)

    def backward(self, dy, cache):
        w, (cols, x_shape) = self.params["w"], cache
        h_out, c_out, w_out, n = dy.shape
        dy = dy.reshape(h_out, c_out, w_out * n)
        dw = (dy @ cols.transpose(0, 2, 1)).sum(axis=0).reshape(w.shape)
        dx = col2im(w.reshape(c_out, -1).T @ dy, x_shape, self.kernel, self.stride)
        return dx, {"w": dw, "b": dy.sum(axis=(0, 2))}


class ConvTranspose2D:
    """y = col2im(wᵀ @ x) + b: (H, C_in, W, N) -> (stride·H, C_out, stride·W, N). Each pixel of x
    adds its value times a filter to a patch of y; where patches overlap, they add up. Without b,
    this is the adjoint of the Conv2D from y's shape to x's. w is (C_in, kernel, kernel, C_out)."""

    def __init__(self, c_in, c_out, kernel, stride, rng, dtype=np.float32):
        self.params = weights_and_biases(rng, (c_in, kernel, kernel, c_out), c_out, dtype)
        self.kernel, self.stride = kernel, stride

    def forward(self, x):
        w, b = self.params["w"], self.params["b"]
        c_in, _, _, c_out = w.shape
        check_channels(x, c_in)
        height, _, width, n = x.shape
        y_shape = self.stride * height, c_out, self.stride * width, n
        cols = w.reshape(c_in, -1).T @ x.reshape(height, c_in, width * n)
        return col2im(cols, y_shape, self.kernel, self.stride) + b[:, None, None], x

    def backward(self, dy, x):
        w, (height, c_in, width, n) = self.params["w"], x.shape
        dcols = im2col(dy, self.kernel, self.stride)       # (H, kernel·kernel·C_out, W·N)
        dx = (w.reshape(c_in, -1) @ dcols).reshape(x.shape)
        dw = x.reshape(height, c_in, width * n) @ dcols.transpose(0, 2, 1)
        return dx, {"w": dw.sum(axis=0).reshape(w.shape), "b": dy.sum(axis=(0, 2, 3))}


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
        self.layers = list(layers)

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
