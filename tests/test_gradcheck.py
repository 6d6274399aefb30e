import numpy as np
import pytest

from tinycodec import check_gradients
from tinycodec.layers import Dense


class Scale:
    """A layer as a reader might write it: y = a x."""

    def __init__(self, wrong=0.0):
        self.params, self.wrong = {"a": np.array([2.0, 3.0, 4.0])}, wrong

    def forward(self, x):
        return self.params["a"][:, None] * x, x

    def backward(self, dy, x):
        da = (dy * x).sum(axis=1)
        da[1] *= 1 + self.wrong
        return self.params["a"][:, None] * dy, {"a": da}


def test_a_readers_own_layer_passes(rng):
    check_gradients(Scale(), rng.normal(size=(3, 5)))


def test_a_layer_that_works_in_place_passes(rng):
    class Square:
        params = {}

        def forward(self, x):
            cache = x.copy()
            x *= x
            return x, cache

        def backward(self, dy, x):
            dy *= 2 * x
            return dy, {}

    check_gradients(Square(), rng.normal(size=(3, 5)))


@pytest.mark.parametrize("wrong", [1e-5, 0.1, -1, np.nan])
def test_a_wrong_gradient_is_caught_and_named(wrong, rng):
    with pytest.raises(AssertionError, match=r"params\['a'\]\[1\]"):
        check_gradients(Scale(wrong), rng.normal(size=(3, 5)))


def test_a_wrong_input_gradient_is_caught_and_named(rng):
    class Wrong(Dense):
        def backward(self, dy, x):
            dx, grads = super().backward(dy, x)
            dx[2, 1] += 0.01
            return dx, grads

    with pytest.raises(AssertionError, match=r"x\[2\]\[1\]"):
        check_gradients(Wrong(3, 2, rng), rng.normal(size=(3, 4)))


def test_a_missing_gradient_is_caught(rng):
    class Missing(Dense):
        def backward(self, dy, x):
            dx, grads = super().backward(dy, x)
            return dx, {"w": grads["w"]}

    with pytest.raises(AssertionError, match=r"\['w'\].*\['b', 'w'\]"):
        check_gradients(Missing(3, 2, rng), rng.normal(size=(3, 4)))


def test_a_gradient_of_the_wrong_shape_is_caught(rng):
    class Wrong(Dense):
        def backward(self, dy, x):
            dx, grads = super().backward(dy, x)
            return dx, grads | {"b": grads["b"][:, None]}

    with pytest.raises(AssertionError, match=r"params\['b'\] has shape \(2, 1\), expected \(2,\)"):
        check_gradients(Wrong(3, 2, rng), rng.normal(size=(3, 4)))


def test_the_layer_and_the_input_are_left_as_they_were(rng):
    layer, x = Dense(3, 2, rng), rng.normal(size=(3, 4)).astype(np.float32)
    w, before = layer.params["w"].copy(), x.copy()
    check_gradients(layer, x)
    assert layer.params["w"].dtype == np.float32
    np.testing.assert_array_equal(layer.params["w"], w)
    np.testing.assert_array_equal(x, before)
