"""Layers by hand. A layer is a dict `params` and two functions, as in CS231n:

    y, cache = layer.forward(x)
    dx, grads = layer.backward(dy, cache)    # dy = ∂L/∂y; grads has the keys of layer.params

A layer keeps nothing of a batch, so threads may share it. The batch is the last axis. Vectors are
(D, N), one example per column, so that a dense layer is y = w x + b. Images are (H, C, W, N). So an
image row is a matrix, (C, W·N), and successive rows are one block of memory (see `im2col`)."""
import math

import numpy as np


def weights_and_biases(rng, shape, d_out, dtype):
    """w is uniform in ±√(6/(fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16), b is 0.
    (In ConvTranspose2D the fans are the other way round. Only their sum counts.)"""
    fan_in, fan_out = math.prod(shape[1:]), math.prod(shape[:-1])
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
# For each row of outputs, im2col copies their patches into the columns of a matrix, cols, so that
# the outputs are w @ cols. col2im adds each entry to the pixel it was copied from. For a row of 4
# pixels, kernel 3, stride 2:
#
#     a b c d 0     im2col     a c           A D     col2im
#     └───┘          --->      b d           B E      --->     A  B  C+D  E    (F was padding)
#         └───┘                c 0           C F
#
# If x changes by a small δ, y = M x changes by M δ, and L by ⟨dy, M δ⟩ = ⟨Mᵀ dy, δ⟩, the sum of
# products. dx is what makes this ⟨dx, δ⟩: Mᵀ dy. Mᵀ is the adjoint of M. A convolution without bias
# is two linear maps: first im2col, which copies, then w @. The adjoint goes back in reverse, as
# (P Q)ᵀ = Qᵀ Pᵀ: first wᵀ @, then col2im, which adds up the copies: the transposed convolution.
#
# Stride makes one side coarse, with fewer pixels: y in Conv2D, x in ConvTranspose2D. Each formula
# is for one row of the coarse image, (C_coarse, W·N), and the `kernel` fine rows that its patches
# cover; w is (C_coarse, kernel·kernel·C_fine). Over all rows, col2im adds up, and dw is summed.
#     Conv2D             y = w @ im2col(x)       dx = col2im(wᵀ @ dy)     dw = dy @ im2col(x)ᵀ
#     ConvTranspose2D    y = col2im(wᵀ @ x)      dx = w @ im2col(dy)      dw = x @ im2col(dy)ᵀ
# (The last dw: if w changes by δ, y changes by col2im(δᵀ @ x), and L by
# ⟨dy, col2im(δᵀ @ x)⟩ = ⟨im2col(dy), δᵀ @ x⟩ = ⟨x @ im2col(dy)ᵀ, δ⟩ = ⟨dw, δ⟩.)

def same_padding(size, kernel, stride):
    """TensorFlow's "same" padding -> (outputs, zeros before, zeros after). An odd one is after."""
    outputs = math.ceil(size / stride)
    zeros = max((outputs - 1) * stride + kernel - size, 0)
    return outputs, zeros // 2, zeros - zeros // 2


def im2col(x, kernel, stride):
    """(H, C, W, N) -> list of H_out matrices (kernel·kernel·C, W_out·N), one for each output row.

        for p in range(h_out):                                  # output row
            for i in range(kernel):                             # row in the patch
                for j in range(kernel):                         # column in the patch
                    for c in range(channels):
                        for q in range(w_out):                  # output column
                            cols[p, i, j, c, q, :] = padded[stride*p + i, c, stride*q + j, :]

    `padded` is x with zeros around it; : is the batch. rows[r] is the drawing's matrix for row r of
    `padded`, with lines (j, c) and columns (q, n). The loop over i needs no copy: the patches of
    output row p cover the rows stride*p … stride*p + kernel − 1, and their rows[r] are neighbours
    in memory. This slice, reshaped, is matrix p, a view that overlaps the next. For Conv2D(1, 20,
    5, 2) on (28, 1, 28, n), padded is (31, 1, 31, n), rows (31, 5, 1, 14, n), and the 14 matrices,
    (25, 14·n), begin at rows 0, 2, 4, …"""
    height, channels, width, n = x.shape
    h_out, top, bottom = same_padding(height, kernel, stride)
    w_out, left, right = same_padding(width, kernel, stride)
    padded = np.zeros((top + height + bottom, channels, left + width + right, n), x.dtype)
    padded[top:top + height, :, left:left + width] = x
    rows = np.empty((len(padded), kernel, channels, w_out, n), x.dtype)
    for j in range(kernel):
        rows[:, j] = padded[:, :, j:j + stride * w_out:stride]
    return [rows[stride * p:stride * p + kernel].reshape(kernel * kernel * channels, -1)
            for p in range(h_out)]


def col2im(cols, shape, dtype, kernel, stride):
    """The adjoint of im2col: ⟨im2col(x), cols⟩ = ⟨x, col2im(cols)⟩. Each pixel sums its copies. In
    the same five loops:    padded[stride*p + i, c, stride*q + j, :] += cols[p, i, j, c, q, :]
    Then the padding is cut off, to `shape`. `cols` may be a generator: one matrix at a time stays
    in the processor's cache."""
    height, channels, width, n = shape
    _, top, bottom = same_padding(height, kernel, stride)
    w_out, left, right = same_padding(width, kernel, stride)
    # Backwards: add the matrices into rows, then each of the rows into pixels, as in the drawing.
    rows = np.zeros((top + height + bottom, kernel, channels, w_out, n), dtype)
    for p, matrix in enumerate(cols):
        rows[stride * p:stride * p + kernel] += matrix.reshape(kernel, kernel, channels, w_out, n)
    x = np.zeros((height, channels, left + width + right, n), dtype)
    for j in range(kernel):
        x[:, :, j:j + stride * w_out:stride] += rows[top:top + height, j]      # no padding rows
    return x[:, :, left:left + width]


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
        y = np.empty((len(cols), len(w), cols[0].shape[1]), x.dtype)     # np.stack: 5 % slower
        for row, matrix in zip(y, cols):
            np.matmul(w.reshape(len(w), -1), matrix, out=row)
            row += b[:, None]
        return y.reshape(*y.shape[:2], math.ceil(x.shape[2] / self.stride), -1), (cols, x.shape)

    def backward(self, dy, cache):
        w, (cols, x_shape) = self.params["w"], cache
        dy = dy.reshape(len(dy), len(w), -1)               # for each row, (C_out, W_out·N)
        # Of each row, dy @ matrixᵀ is (matrix @ dyᵀ)ᵀ, which is 13 % faster.
        dw = sum(matrix @ row.T for matrix, row in zip(cols, dy)).T
        dx = None                                          # nobody needs the gradient of the data
        if self.input_gradient:
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
        return col2im(cols, y_shape, x.dtype, self.kernel, self.stride) + b[:, None, None], x

    def backward(self, dy, x):                             # x as reshaped
        w = self.params["w"]
        cols = im2col(dy, self.kernel, self.stride)
        dx = np.stack([w.reshape(len(w), -1) @ matrix for matrix in cols])
        dw = sum(matrix @ row.T for matrix, row in zip(cols, x)).T
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
