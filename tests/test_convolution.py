import numpy as np
import pytest

import tinycodec as tc
from tests import GEOMETRIES
from tinycodec import check_gradients, layers
from tinycodec.machine import convolution


@pytest.mark.parametrize("name", ["Conv2D", "ConvTranspose2D"])
@pytest.mark.parametrize("height, width, kernel, stride", GEOMETRIES)
def test_the_fast_convolutions_are_the_plain_ones_but_for_rounding(name, height, width, kernel, stride, rng):
    plain, fast = (getattr(module, name)(3, 4, kernel, stride, rng, np.float64) for module in (layers, convolution))
    plain.params["b"] = rng.normal(size=4)
    fast.params = plain.params
    x = rng.normal(size=(height, 3, width, 2))
    (y, cache), (fast_y, fast_cache) = plain.forward(x), fast.forward(x)
    np.testing.assert_allclose(fast_y, y, atol=1e-12)
    dy = rng.normal(size=y.shape)
    (dx, grads), (fast_dx, fast_grads) = plain.backward(dy, cache), fast.backward(dy, fast_cache)
    np.testing.assert_allclose(fast_dx, dx, atol=1e-12)
    for key in grads:
        np.testing.assert_allclose(fast_grads[key], grads[key], atol=1e-12)


@pytest.mark.parametrize("layer", [convolution.Conv2D, convolution.ConvTranspose2D])
def test_their_gradients_are_right(layer, rng):
    check_gradients(layer(2, 3, 5, 2, rng), rng.normal(size=(4, 2, 3, 2)))


@pytest.mark.parametrize("layer", [convolution.Conv2D, convolution.ConvTranspose2D])
def test_they_keep_the_dtype_and_an_empty_batch(layer, rng):
    for n in (0, 2):
        y, cache = layer(3, 2, 5, 2, rng).forward(np.ones((4, 3, 6, n), np.float32))
        dx, grads = layer(3, 2, 5, 2, rng).backward(y, cache)
        assert dx.shape == (4, 3, 6, n) and {a.dtype for a in (y, dx, *grads.values())} == {np.dtype(np.float32)}


def test_the_input_gradient_can_be_left_out(rng):
    layer = convolution.Conv2D(1, 2, 5, 2, rng)
    y, cache = layer.forward(rng.normal(size=(8, 1, 8, 3)))
    _, expected = layer.backward(y, cache)
    layer.input_gradient = False
    dx, grads = layer.backward(y, cache)
    assert dx is None
    for name in expected:
        np.testing.assert_array_equal(grads[name], expected[name])


def test_no_image_row_is_copied_twice(rng):
    rows = convolution.unfold(rng.normal(size=(8, 3, 8, 2)), 4, 2)
    first, second, third, *_ = convolution.stacks(rows, 4, 2)
    assert np.shares_memory(first, rows) and np.shares_memory(first, second) and not np.shares_memory(first, third)


def test_a_codec_has_the_fast_convolutions():
    codec = tc.Codec(latent_dims=2)
    kinds = {type(layer) for layer in (*codec.g_a.layers, *codec.g_s.layers)}
    assert {convolution.Conv2D, convolution.ConvTranspose2D} < kinds
    assert not kinds & {layers.Conv2D, layers.ConvTranspose2D}


def test_a_codec_with_ones_own_convolution_uses_it(mnist):
    class Doubled(layers.Conv2D):
        def forward(self, x):
            y, cache = super().forward(x)
            return 2 * y, cache

    codec, other = tc.Codec(latent_dims=2), tc.Codec(latent_dims=2)
    other.g_a.layers[0] = Doubled(1, 20, 5, 2, np.random.default_rng(0))
    other.g_a.layers[0].params = codec.g_a.layers[0].params
    np.testing.assert_allclose(other.analysis(mnist[1][:3]), 2 * codec.analysis(mnist[1][:3]), rtol=1e-3)
