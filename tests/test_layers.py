import numpy as np
import pytest
from scipy.signal import correlate2d

from tests import GEOMETRIES
from tinycodec import check_gradients
from tinycodec.layers import (Conv2D, ConvTranspose2D, Dense, LeakyReLU, Reshape, Sequential,
                              col2im, im2col, same_padding)
from tinycodec.machine import convolution as fast


@pytest.mark.parametrize("size, kernel, stride, expected",
                         [(28, 5, 2, (14, 1, 2)), (14, 5, 2, (7, 1, 2)), (7, 5, 2, (4, 2, 2)),
                          (7, 3, 1, (7, 1, 1)), (6, 4, 1, (6, 1, 2)), (5, 2, 3, (2, 0, 0)),
                          (6, 1, 2, (3, 0, 0))])
def test_same_padding_is_tensorflows(size, kernel, stride, expected):
    assert same_padding(size, kernel, stride) == expected


def pads(height, width, kernel, stride):
    rows, columns = (same_padding(size, kernel, stride)[1:] for size in (height, width))
    return rows, (0, 0), columns, (0, 0)


def convolution(kernel, stride, rng):                  # linear, as b is 0 at the start
    return Conv2D(3, 4, kernel, stride, rng, np.float64)


@pytest.mark.parametrize("height, width, kernel, stride", GEOMETRIES)
def test_im2col_is_five_nested_loops(height, width, kernel, stride, rng):
    x = rng.normal(size=(height, 3, width, 2))
    padded = np.pad(x, pads(height, width, kernel, stride))
    h_out, w_out = (same_padding(size, kernel, stride)[0] for size in (height, width))
    cols = np.zeros((h_out, kernel, kernel, 3, w_out, 2))
    for p in range(h_out):
        for i in range(kernel):
            for j in range(kernel):
                for c in range(3):
                    for q in range(w_out):
                        cols[p, i, j, c, q] = padded[stride*p + i, c, stride*q + j]
    np.testing.assert_array_equal(im2col(x, kernel, stride),
                                  cols.reshape(h_out, kernel * kernel * 3, w_out * 2))


@pytest.mark.parametrize("height, width, kernel, stride", GEOMETRIES)
def test_col2im_is_five_nested_loops(height, width, kernel, stride, rng):
    x = np.zeros((height, 3, width, 2))
    padded = np.pad(x, pads(height, width, kernel, stride))
    h_out, w_out = (same_padding(size, kernel, stride)[0] for size in (height, width))
    cols = rng.normal(size=(h_out, kernel, kernel, 3, w_out, 2))
    for p in range(h_out):
        for i in range(kernel):
            for j in range(kernel):
                for c in range(3):
                    for q in range(w_out):
                        padded[stride*p + i, c, stride*q + j] += cols[p, i, j, c, q]
    (top, _), _, (left, _), _ = pads(height, width, kernel, stride)
    expected = padded[top:top + height, :, left:left + width]
    cols = cols.reshape(h_out, kernel * kernel * 3, w_out * 2)
    np.testing.assert_allclose(col2im(cols, x.shape, kernel, stride), expected, atol=1e-12)


@pytest.mark.parametrize("height, width, kernel, stride", GEOMETRIES)
def test_col2im_is_the_adjoint_of_im2col(height, width, kernel, stride, rng):
    x = rng.normal(size=(height, 3, width, 2))
    cols = im2col(x, kernel, stride)
    z = rng.normal(size=cols.shape)
    back = col2im(z, x.shape, kernel, stride)
    assert np.vdot(cols, z) == pytest.approx(np.vdot(x, back))


@pytest.mark.parametrize("height, width, kernel, stride", GEOMETRIES)
def test_convolution_agrees_with_scipy(height, width, kernel, stride, rng):
    x = rng.normal(size=(height, 3, width, 2))
    padded = np.pad(x, pads(height, width, kernel, stride))
    layer = convolution(kernel, stride, rng)
    y, _ = layer.forward(x)
    for n in range(2):
        for o, w in enumerate(layer.params["w"]):
            expected = sum(correlate2d(padded[:, c, :, n], w[:, :, c], "valid") for c in range(3))
            np.testing.assert_allclose(y[:, o, :, n], expected[::stride, ::stride], atol=1e-12)


@pytest.mark.parametrize("height, width, kernel, stride", GEOMETRIES)
def test_the_gradients_of_a_convolution_are_its_adjoints(height, width, kernel, stride, rng):
    x = rng.normal(size=(height, 3, width, 2))
    layer = convolution(kernel, stride, rng)
    y, cache = layer.forward(x)
    z = rng.normal(size=y.shape)
    dx, grads = layer.backward(z, cache)
    assert np.vdot(y, z) == pytest.approx(np.vdot(x, dx))
    assert np.vdot(y, z) == pytest.approx(np.vdot(layer.params["w"], grads["w"]))


@pytest.mark.parametrize("kernel, stride", [(5, 2), (3, 1), (4, 3), (1, 1), (2, 3)])
def test_transposed_convolution_is_the_adjoint_of_convolution(kernel, stride, rng):
    conv = convolution(kernel, stride, rng)
    transposed = ConvTranspose2D(4, 3, kernel, stride, rng, np.float64)
    transposed.params["w"] = conv.params["w"]
    z = rng.normal(size=(2 * stride, 3, 4 * stride, 2))
    x = rng.normal(size=(2, 4, 4, 2))
    assert np.vdot(conv.forward(z)[0], x) == pytest.approx(np.vdot(z, transposed.forward(x)[0]))


@pytest.mark.parametrize("layer, shape", [
    (lambda r: Dense(5, 3, r), (5, 4)),
    (lambda r: Conv2D(2, 3, 5, 2, r), (6, 2, 8, 2)),
    (lambda r: Conv2D(2, 3, 3, 1, r), (5, 2, 4, 2)),
    (lambda r: Conv2D(1, 2, 4, 3, r), (7, 1, 5, 1)),
    (lambda r: ConvTranspose2D(3, 2, 5, 2, r), (3, 3, 4, 2)),
    (lambda r: ConvTranspose2D(2, 1, 2, 3, r), (2, 2, 3, 1)),
    (lambda r: LeakyReLU(0.2), (3, 2, 4, 5)),
    (lambda r: Reshape(2, 3, 4), (24, 2)),
    (lambda r: Sequential(Conv2D(1, 2, 3, 2, r), LeakyReLU(), Reshape(18), Dense(18, 2, r)),
     (5, 1, 5, 2)),
    (lambda r: Sequential(Dense(3, 4, r), Sequential(LeakyReLU(), Dense(4, 2, r))), (3, 2)),
])
def test_gradients_of_every_layer_are_right(layer, shape, rng):
    layer = layer(rng)
    for p in layer.params.values():
        p[:] = rng.normal(size=p.shape)
    check_gradients(layer, rng.normal(size=shape))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolution_multiplies_the_size_by_its_stride(stride, rng):
    y, _ = ConvTranspose2D(2, 3, 5, stride, rng).forward(np.ones((4, 2, 6, 1)))
    assert y.shape == (4 * stride, 3, 6 * stride, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layers_keep_the_dtype(dtype, rng):
    network = Sequential(Conv2D(1, 2, 5, 2, rng, dtype), LeakyReLU(),
                         ConvTranspose2D(2, 1, 5, 2, rng, dtype), Reshape(16),
                         Dense(16, 2, rng, dtype))
    y, cache = network.forward(np.ones((4, 1, 4, 3), dtype))
    dx, grads = network.backward(y, cache)
    assert {y.dtype, dx.dtype, *(g.dtype for g in grads.values())} == {np.dtype(dtype)}


def test_an_empty_batch_gives_an_empty_batch(rng):
    network = Sequential(Conv2D(1, 2, 5, 2, rng), LeakyReLU(), ConvTranspose2D(2, 1, 5, 2, rng))
    y, cache = network.forward(np.zeros((4, 1, 4, 0), np.float32))
    dx, _ = network.backward(y, cache)
    assert y.shape == dx.shape == (4, 1, 4, 0)


@pytest.mark.parametrize("layer", [Conv2D, ConvTranspose2D, fast.Conv2D, fast.ConvTranspose2D])
@pytest.mark.parametrize("shape", [(4, 1, 4, 2), (4, 3, 4), (4, 4, 3, 2)])
def test_images_of_the_wrong_shape_are_an_error(layer, shape, rng):
    with pytest.raises(ValueError, match=rf"expected images \(H, 3, W, N\), got \({shape[0]}, "):
        layer(3, 2, 5, 2, rng).forward(np.zeros(shape))


def test_layers_keep_nothing_of_a_batch(rng):
    network = Sequential(Conv2D(1, 2, 5, 2, rng), LeakyReLU(), Reshape(8), Dense(8, 2, rng))
    x, other = rng.normal(size=(2, 4, 1, 4, 3))
    y, cache = network.forward(x)
    _, expected = network.backward(y, cache)
    _, cache = network.forward(x)
    network.forward(other)
    _, grads = network.backward(y, cache)
    for name in expected:
        np.testing.assert_array_equal(grads[name], expected[name])


def test_glorot_initialisation_keeps_the_variance_of_a_linear_layer(rng):
    y, _ = Dense(500, 500, rng).forward(rng.normal(size=(500, 100)))
    assert y.var() == pytest.approx(1, rel=0.05)
