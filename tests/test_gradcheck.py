import numpy as np
import pytest

from tinycodec import check_gradients
from tinycodec.gradcheck import relative_errors
from tinycodec.layers import Conv2D, ConvTranspose2D, Dense, LeakyReLU, Sequential


class Function:
    """y = f(x), with the derivative df: a layer as a reader might write it."""
    params = {}

    def __init__(self, f, df):
        self.f, self.df = f, df

    def forward(self, x):
        return self.f(x), x

    def backward(self, dy, x):
        return dy * self.df(x), None


class Linear:
    """y = w x + b."""

    def __init__(self, rng, d_in=4, d_out=3):
        self.params = {"w": rng.normal(size=(d_out, d_in)), "b": rng.normal(size=d_out)}

    def forward(self, x):
        return self.params["w"] @ x + self.params["b"][:, None], x

    def backward(self, dy, x):
        return self.params["w"].T @ dy, {"w": dy @ x.T, "b": dy.sum(axis=1)}


class Normalisation:
    """BatchNorm (axis 0) or LayerNorm (axis 1) of (N, D), without parameters."""
    params = {}

    def __init__(self, axis):
        self.axis = axis

    def forward(self, x):
        sigma = np.sqrt(x.var(self.axis, keepdims=True) + 1e-5)
        z = (x - x.mean(self.axis, keepdims=True)) / sigma
        return z, (z, sigma)

    def backward(self, dz, cache):
        z, sigma = cache
        return (dz - dz.mean(self.axis, keepdims=True) - z * (dz * z).mean(self.axis, keepdims=True)) / sigma, {}


class Attention:
    """softmax(q kᵀ) v of x (N, D). The gradient of the keys' bias is 0: it adds the same to a row of q kᵀ."""

    def __init__(self, rng, d=4):
        self.params = {n: rng.normal(size=(d, d)) for n in "qkv"} | {"b" + n: rng.normal(size=d) for n in "qkv"}

    def forward(self, x):
        q, k, v = (x @ self.params[n] + self.params["b" + n] for n in "qkv")
        a = np.exp(q @ k.T - (q @ k.T).max(axis=1, keepdims=True))
        a /= a.sum(axis=1, keepdims=True)
        return a @ v, (x, q, k, v, a)

    def backward(self, dy, cache):
        x, q, k, v, a = cache
        da = dy @ v.T
        ds = a * (da - (da * a).sum(axis=1, keepdims=True))
        d = {"q": ds @ k, "k": ds.T @ q, "v": a.T @ dy}
        return sum(d[n] @ self.params[n].T for n in "qkv"), {n: x.T @ d[n] for n in "qkv"} | {"b" + n: d[n].sum(axis=0) for n in "qkv"}


class GDN:
    """x/√(β + γ x²) (Ballé, Laparra & Simoncelli 2016)."""

    def __init__(self, rng, d=4):
        self.params = {"beta": rng.uniform(0.5, 1, d), "gamma": rng.uniform(0.1, 0.5, (d, d))}

    def forward(self, x):
        z = self.params["beta"][:, None] + self.params["gamma"] @ x**2
        return x / np.sqrt(z), (x, z)

    def backward(self, dy, cache):
        x, z = cache
        dz = -0.5 * dy * x * z**-1.5
        return dy / np.sqrt(z) + 2 * x * (self.params["gamma"].T @ dz), {"beta": dz.sum(axis=1), "gamma": dz @ (x**2).T}


class CrossEntropy:
    """Mean cross-entropy of softmax(s), s (N, C), and the classes t (N,); a Python float."""
    params = {}

    def forward(self, s, t):
        log_p = s - np.log(np.exp(s).sum(axis=1, keepdims=True))
        return float(-log_p[np.arange(len(t)), t].mean()), (log_p, t)

    def backward(self, dy, cache):
        log_p, t = cache
        return (dy * (np.exp(log_p) - np.eye(log_p.shape[1])[t]) / len(t), None), None


class Embedding:
    def __init__(self, rng):
        self.params = {"e": rng.normal(size=(7, 3))}

    def forward(self, i):
        return self.params["e"][i], i

    def backward(self, dy, i):
        de = np.zeros_like(self.params["e"])
        np.add.at(de, i, dy)
        return None, {"e": de}


class Dropout:
    """With a generator of its own, or with NumPy's global one."""
    params = {}

    def __init__(self, rng=None):
        self.rng = rng

    def forward(self, x):
        mask = 2.0 * ((self.rng.random if self.rng else np.random.random)(x.shape) < 0.5)
        return x * mask, mask

    def backward(self, dy, mask):
        return dy * mask, {}


class MaxPool:
    """(N, 2 D) -> (N, D)."""
    params = {}

    def forward(self, x):
        pairs = x.reshape(len(x), -1, 2)
        return pairs.max(axis=2), pairs

    def backward(self, dy, pairs):
        dx = np.zeros(pairs.shape)
        np.put_along_axis(dx, pairs.argmax(axis=2)[..., None], dy[..., None], axis=2)
        return dx.reshape(len(dx), -1), None


class Both:
    """y = a · b, of two inputs."""
    params = {}

    def forward(self, a, b):
        return a * b, (a, b)

    def backward(self, dy, cache):
        a, b = cache
        return (dy * b, dy * a), None


class ReLUTimesLog:
    """y = Σ relu(a) · Σ log(b)."""
    params = {}

    def forward(self, a, b):
        return np.maximum(a, 0).sum() * np.log(b).sum(), (a, b)

    def backward(self, dy, cache):
        a, b = cache
        return (dy * (a > 0) * np.log(b).sum(), dy * np.maximum(a, 0).sum() / b), None


class LeastSquares:
    """|A x − A 1|², which is least at x = 1."""
    params = {}

    def __init__(self, rng):
        self.a = rng.normal(size=(5, 3))

    def forward(self, x):
        residual = self.a @ (x - 1)
        return residual @ residual, residual

    def backward(self, dy, residual):
        return 2 * dy * self.a.T @ residual, None


class Shift:
    """y = relu(x + b), with db of the wrong sign."""

    def __init__(self):
        self.params = {"b": np.zeros(1)}

    def forward(self, x):
        z = x + self.params["b"]
        return np.maximum(z, 0), z

    def backward(self, dy, z):
        dz = dy * (z > 0)
        return dz, {"b": -dz.sum(keepdims=True)}


class OfTheClass:
    """y = relu(w x), with w of the class."""
    params = {"w": np.ones(400)}

    def forward(self, x):
        return np.maximum(self.params["w"] * x, 0), x

    def backward(self, dy, x):
        dz = dy * (self.params["w"] * x > 0)
        return dz * self.params["w"], {"w": dz * x}


def but(layer, change):
    """The layer with another backward: change(dx, grads, dy) -> (dx, grads)."""
    backward = layer.backward
    layer.backward = lambda dy, cache: change(*backward(dy, cache), dy)
    return layer


def times(gradient, where, factor):
    gradient = gradient.copy()
    gradient[where] *= factor
    return gradient


def tanh(factor=1):
    return Function(np.tanh, lambda x: factor / np.cosh(x)**2)


def relu(slope_at_0=0.0, factor=1):
    return Function(lambda x: np.maximum(x, 0), lambda x: factor * np.where(x == 0, slope_at_0, x > 0))


RIGHT = {
    "dense": lambda r: (Linear(r), r.normal(size=(4, 6))), "float32": lambda r: (Dense(4, 3, r), r.normal(size=(4, 6))),
    "convolution": lambda r: (Conv2D(2, 3, 3, 2, r), r.normal(size=(6, 2, 5, 2))), "GDN": lambda r: (GDN(r), r.normal(size=(4, 6))),
    "cross-entropy": lambda r: (CrossEntropy(), (r.normal(size=(6, 4)), r.integers(0, 4, 6))),
    "BatchNorm": lambda r: (Normalisation(0), r.normal(size=(8, 4))), "LayerNorm": lambda r: (Normalisation(1), r.normal(size=(4, 8))),
    "embedding": lambda r: (Embedding(r), r.integers(0, 7, (4, 2))), "two inputs": lambda r: (Both(), tuple(r.normal(size=(2, 3, 4)))),
    "the same array twice": lambda r: (Both(), (r.normal(size=(3, 4)),) * 2),
    "dropout": lambda r: (Dropout(np.random.default_rng(0)), r.normal(size=(4, 6))),
    "max-pool": lambda r: (MaxPool(), r.normal(size=(4, 6))), "no entries": lambda r: (tanh(), np.zeros((0, 3))),
    # noise that is no error
    "gradient of 0": lambda r: (Attention(r), r.normal(size=(6, 4))), "LayerNorm at 1000": lambda r: (Normalisation(1), 1000 + r.normal(size=(4, 8))),
    "constant of 1e7": lambda r: (Function(lambda x: np.sin(x) + 1e7, np.cos), r.normal(size=(3, 4))),
    # gradients of 0
    "relu(x)² at 0": lambda r: (Function(lambda x: np.maximum(x, 0)**2, lambda x: 2 * np.maximum(x, 0)), np.array([0.0, 1, 2])),
    "x³ at 0": lambda r: (Function(lambda x: x**3, lambda x: 3 * x**2), np.zeros(2)),
    "least squares at its solution": lambda r: (LeastSquares(r), np.ones(3)),
    # curvature that is no error
    "√x at 1e-6": lambda r: (Function(np.sqrt, lambda x: 0.5 / np.sqrt(x)), np.array([1e-6, 1])),
    "log x at 1e-4": lambda r: (Function(np.log, lambda x: 1 / x), np.array([1e-4, 2])),
    "sin 1000x": lambda r: (Function(lambda x: np.sin(1000 * x), lambda x: 1000 * np.cos(1000 * x)), r.normal(size=9)),
    # kinks beside x and at x
    "ReLU at 3e-6": lambda r: (relu(), np.array([3e-6, -2e-6, 1])), "near ties": lambda r: (MaxPool(), np.repeat(r.normal(size=(4, 3)), 2, 1) + np.tile([0, 2e-6], 3)),
    "convolution net": lambda r: (Sequential(Conv2D(1, 3, 5, 2, r), LeakyReLU(), Conv2D(3, 4, 5, 2, r)), r.normal(size=(12, 1, 12, 2))),
    **{f"ReLU at 0, slope {slope}": lambda r, slope=slope: (relu(slope), np.array([0.0, 1, -1])) for slope in (0, 0.5, 1)},
    "many kinks, and log x at 5e-5": lambda r: (ReLUTimesLog(), (np.zeros(400), np.full(2, 5e-5))),
    "|x| at 0": lambda r: (Function(np.abs, np.sign), np.array([0.0, 1, -1])), "ties": lambda r: (MaxPool(), np.repeat(r.normal(size=(4, 3)), 2, 1))}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_layer_passes(name, rng):
    assert check_gradients(*RIGHT[name](rng)) < 1e-6


CORNER, X = np.s_[2, 3], lambda r: r.normal(size=(4, 6))
WRONG = {
    "shape: a missing sum over the batch": (lambda r: (but(Linear(r), lambda dx, g, dy: (dx, g | {"b": dy})), X(r)), r"params\['b'\].*shape \(3,\), got \(3, 6\)"),
    "mean for sum": (lambda r: (but(Linear(r), lambda dx, g, dy: (dx, g | {"b": dy.mean(axis=1)})), X(r)), r"params\['b'\].*factor of 0.1666.*3 of 3"),
    "missing": (lambda r: (but(Linear(r), lambda dx, g, dy: (dx, {"w": g["w"]})), X(r)), r"params\['b'\].*got none"),
    "a name that no parameter has": (lambda r: (but(Linear(r), lambda dx, g, dy: (dx, g | {"c": dy})), X(r)), r"params\['c'\] of shape none, got \(3, 6\)"),
    "transposed": (lambda r: (but(layer := Linear(r, 4, 4), lambda dx, g, dy: (layer.params["w"] @ dy, g)), X(r)), r"x\[.*24 of 24"),
    "stride offset": (lambda r: (but(Conv2D(1, 2, 3, 2, r), lambda dx, g, dy: (np.roll(dx, 1, axis=0), g)), r.normal(size=(7, 1, 7, 2))), r"x\["),
    "dropped terms of BatchNorm": (lambda r: (but(Normalisation(0), lambda dx, g, dy: (dx + 0.1 * dy.mean(axis=0), g)), X(r)), r"x\["),
    "× 1.0001": (lambda r: (tanh(1.0001), X(r)), r"x\[.*factor of 1.0001;.* of 24"),
    "one entry off by 1 %": (lambda r: (but(Linear(r), lambda dx, g, dy: (times(dx, CORNER, 1.01), g)), X(r)), r"x\[2\]\[3\].*factor of 1.01;.*1 of 24"),
    "one entry off by 1e-5": (lambda r: (but(Linear(r), lambda dx, g, dy: (dx, g | {"w": times(g["w"], CORNER, 1.00001)})), X(r)), r"params\['w'\]\[2\]\[3\].*1 of 12"),
    "sign": (lambda r: (tanh(-1), X(r)), r"x\[.*factor of -1;"), "NaN": (lambda r: (but(tanh(), lambda dx, g, dy: (times(dx, CORNER, np.nan), g)), X(r)), r"x\[2\]\[3\].*gives nan"),
    "no gradient of a second input": (lambda r: (but(Both(), lambda dx, g, dy: (dx[:1], g)), tuple(r.normal(size=(2, 3, 4)))), r"x\[1\].*got none"),
    "gradient of a second input": (lambda r: (but(Both(), lambda dx, g, dy: ((dx[0], dx[0]), g)), tuple(r.normal(size=(2, 3, 4)))), r"x\[1\]\["),
    "an error near noise": (lambda r: (but(Attention(r), lambda dx, g, dy: (dx, g | {"bk": g["bk"] + 1e-6})), r.normal(size=(6, 4))), r"params\['bk'\]"),
    "LayerNorm at 1000": (lambda r: (but(Normalisation(1), lambda dx, g, dy: (1.001 * dx, g)), 1000 + r.normal(size=(4, 8))), r"x\["),
    "constant of 1e7": (lambda r: (Function(lambda x: np.sin(x) + 1e7, lambda x: 1.05 * np.cos(x)), X(r)), r"x\["),
    "√x at 1e-6": (lambda r: (Function(np.sqrt, lambda x: times(0.5 / np.sqrt(x), 0, 1.01)), np.array([1e-6, 1])), r"x\[0\]"),
    "beside a kink": (lambda r: (relu(0, np.array([0.9, 1, 1])), np.array([3e-6, -2e-6, 1])), r"^wrong gradient at x\[0\]"),
    "gradients that add up": (lambda r: (Accumulates(r), X(r)), r"params\['w'\]")}


class Accumulates(Linear):
    dw = 0

    def backward(self, dy, x):
        dx, grads = super().backward(dy, x)
        self.dw = self.dw + grads["w"]
        return dx, grads | {"w": self.dw}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_gradient_is_caught_and_named(name, rng):
    case, message = WRONG[name]
    with pytest.raises(AssertionError, match=message):
        check_gradients(*case(rng))


@pytest.mark.parametrize("slope", [-0.1, 1.1, 2])
def test_a_slope_that_is_not_between_those_on_both_sides_of_a_kink_is_said_to_be_on_a_kink(slope):
    with pytest.raises(AssertionError, match=r"^on a kink, x\[0\]"):
        check_gradients(relu(slope), np.array([0.0, 1, -1]))


def test_a_wrong_gradient_at_a_smooth_place_comes_before_one_on_a_kink():
    with pytest.raises(AssertionError, match=r"^wrong gradient at x\[2\]"):
        check_gradients(relu(100, np.array([1, 1, 1.001])), np.array([0.0, -1, 1]))


def test_a_kink_excuses_no_error():
    with pytest.raises(AssertionError, match=r"^wrong gradient at params\['b'\]\[0\].*factor of -1;.*moved by 1e-4"):
        check_gradients(Shift(), np.array([0.0, 0, 0, 0, 1]))


def test_a_right_net_is_said_to_be_right_beside_a_kink():
    rng = np.random.default_rng(2)
    net = Sequential(Dense(2, 2, rng), LeakyReLU(), Dense(2, 2, rng), LeakyReLU())
    with pytest.raises(AssertionError, match=r"^on a kink.*beside it, all is right"):
        check_gradients(net, np.zeros((2, 1)))


def test_a_smooth_error_is_not_said_to_be_on_a_kink():
    phase = np.random.default_rng(1).normal(size=1000)
    layer = Function(lambda x: np.sin(0.1 * x + phase), lambda x: 0.101 * np.cos(0.1 * x + phase))
    layer = but(layer, lambda dx, grads, dy: (dx.sum(keepdims=True), grads))
    with pytest.raises(AssertionError, match=r"^wrong gradient at x\[0\]"):
        check_gradients(layer, np.array([1.0]))


# --- aliases and state ---

def test_an_array_given_twice_hides_no_doubled_gradient(rng):
    a = rng.normal(size=(3, 4))
    with pytest.raises(AssertionError, match=r"^wrong gradient at x\[1\].*factor of 2;"):
        check_gradients(but(Both(), lambda dx, grads, dy: ((2 * dx[0], 2 * dx[1]), grads)), (a, a))


def test_parameters_may_be_of_the_class(rng):
    check_gradients(OfTheClass(), rng.normal(size=400))


def test_parameters_of_the_class_are_left_as_they_were():
    check_gradients(OfTheClass(), np.zeros(400))
    assert np.array_equal(OfTheClass.params["w"], np.ones(400))


def test_params_may_be_none(rng):
    layer = tanh()
    layer.params = None
    check_gradients(layer, X(rng))


def test_the_output_may_be_a_view_of_a_parameter(rng):
    class Parameter(Linear):
        def forward(self, x):
            return self.params["w"], x

        def backward(self, dy, x):
            return np.zeros_like(x), {"w": dy, "b": np.zeros(3)}

    check_gradients(Parameter(rng), X(rng))


def test_the_output_may_be_a_buffer_that_is_used_again():
    out = np.zeros((4, 6))
    check_gradients(Function(lambda x: np.multiply(x, x, out=out), lambda x: 2 * x), np.ones((4, 6)))


def test_a_parameter_may_have_a_second_name(rng):
    class Named(Linear):
        def __init__(self, rng):
            super().__init__(rng)
            self.w = self.params["w"] = self.params["w"].astype(np.float32)

        def forward(self, x):
            return self.w @ x + self.params["b"][:, None], x

    check_gradients(Named(rng), X(rng))


def test_a_model_may_collect_the_parameters_of_its_layers(rng):
    class Two:
        def __init__(self):
            self.layers = Linear(rng), Linear(rng, 3, 2)
            self.params = {f"{n}{i}": p for i, layer in enumerate(self.layers) for n, p in layer.params.items()}

        def forward(self, x):
            y, first = self.layers[0].forward(x)
            z, second = self.layers[1].forward(y)
            return z, (first, second)

        def backward(self, dz, cache):
            dy, second = self.layers[1].backward(dz, cache[1])
            dx, first = self.layers[0].backward(dy, cache[0])
            return dx, {f"{n}{i}": g for i, grads in enumerate((first, second)) for n, g in grads.items()}

    check_gradients(Two(), X(rng))


def test_a_layer_may_work_in_place(rng):
    class Square(Function):
        def forward(self, x):
            cache = x.copy()
            x *= x
            return x, cache

        def backward(self, dy, x):
            dy *= 2 * x
            return dy, {}

    check_gradients(Square(None, None), X(rng))


def test_float32_inside_a_layer_is_said(rng):
    with pytest.raises(AssertionError, match="float32 inside the layer"):
        check_gradients(Function(lambda x: np.tanh(x.astype(np.float32)), lambda x: 1 / np.cosh(x)**2), X(rng))


@pytest.mark.parametrize("x", [np.arange(5), np.zeros(5), np.arange(5) / 2, np.full(2, 5e6)])
def test_float32_is_not_suspected_of_integers_and_halves(x):
    with pytest.raises(AssertionError) as error:
        check_gradients(Function(lambda x: 2 * x, lambda x: 3), x.astype(float))
    assert "float32" not in str(error.value)


def test_global_randomness_is_said(rng):
    with pytest.raises(AssertionError, match="different outputs for the same input"):
        check_gradients(Dropout(), X(rng))


@pytest.mark.parametrize("kind", [tuple, list])
def test_several_outputs_are_said(kind, rng):
    with pytest.raises(TypeError, match=f"expected one array y from forward, got a {kind.__name__}"):
        check_gradients(Function(lambda x: kind([x, x]), None), X(rng))


def test_a_dict_of_outputs_is_said(rng):
    with pytest.raises(TypeError, match="expected one array y from forward, got a dict"):
        check_gradients(Function(lambda x: {"y": x}, None), X(rng))


@pytest.mark.parametrize("result, got", [(np.ones((2, 3)), "one ndarray"), ((1.0, 2.0, 3.0), "3 values"), (None, "one NoneType")])
@pytest.mark.parametrize("method, names", [("forward", "y, cache"), ("backward", "dx, grads")])
def test_what_is_not_a_pair_is_said(method, names, result, got):
    layer = tanh()
    setattr(layer, method, lambda *arguments: result)
    with pytest.raises(TypeError, match=rf"expected a pair \({names}\) from {method}, got {got}"):
        check_gradients(layer, np.ones((2, 3)))


def test_one_dx_for_two_inputs_is_said(rng):
    with pytest.raises(TypeError, match="expected a tuple dx from backward, .*got one ndarray"):
        check_gradients(but(Both(), lambda dx, grads, dy: (dx[0], grads)), tuple(rng.normal(size=(2, 3, 4))))


@pytest.mark.parametrize("x, dx, got", [(np.arange(5), np.ones(5), "x of int64$"), (np.ones(5), None, "x of float64 without a gradient$")])
def test_nothing_to_check_is_said(x, dx, got):
    with pytest.raises(TypeError, match=f"nothing to check: expected floats .*, got {got}"):
        check_gradients(but(tanh(), lambda *_: (dx, {})), x)


def test_the_layer_and_the_input_are_left_as_they_were(rng):
    layer, x = Dense(3, 2, rng), rng.normal(size=(3, 4)).astype(np.float32)
    w, before = layer.params["w"].copy(), x.copy()
    check_gradients(layer, x)
    assert layer.params["w"].dtype == np.float32
    np.testing.assert_array_equal(layer.params["w"], w)
    np.testing.assert_array_equal(x, before)


# --- size ---

def test_one_wrong_entry_among_a_million_is_found_and_named(rng):
    layer = but(Dense(2450, 500, rng), lambda dx, g, dy: (dx, g | {"w": times(g["w"], (321, 1234), 1.0001)}))
    with pytest.raises(AssertionError, match=r"params\['w'\]\[321\]\[1234\].*1 of 1225000"):
        check_gradients(layer, rng.normal(size=(2450, 4)))


def test_three_errors_in_a_large_array_are_enough(rng):
    with pytest.raises(AssertionError, match=r"^wrong gradient at .*; 3 or more of 6400 entries"):
        check_gradients(tanh(1.5), rng.normal(size=(80, 80)))


def test_a_kink_beside_x_hides_no_small_error_of_another_entry(rng):
    x = np.sort(rng.normal(size=1200))
    x[0] = 5e-6
    with pytest.raises(AssertionError, match=r"^wrong gradient at x\[1100\].*1 of 1200 entries"):
        check_gradients(relu(0, times(np.ones(1200), 1100, 1 + 1.2e-5)), x)


def test_masses_of_kinks_hide_no_error(rng):
    x = np.where(rng.random((40, 40)) < 0.5, 0, rng.normal(size=(40, 40)))
    x[7, 30] = 0.5
    check_gradients(relu(), x)
    with pytest.raises(AssertionError, match=r"^wrong gradient at x\[7\]\[30\]"):
        check_gradients(relu(0, times(np.ones((40, 40)), (7, 30), 1.001)), x)


def test_a_transposed_convolution_of_many_images_passes(rng):
    check_gradients(ConvTranspose2D(4, 3, 5, 2, rng), rng.normal(size=(6, 4, 5, 8)))


# --- no miss, no alarm ---

LAYERS = {name: RIGHT[name] for name in ("dense", "convolution", "GDN", "cross-entropy", "BatchNorm", "LayerNorm", "gradient of 0",
                                          "embedding", "two inputs", "dropout", "max-pool")}


@pytest.mark.parametrize("name", LAYERS)
def test_no_random_mutation_of_one_entry_is_missed(name, rng):
    for _ in range(3):
        def mutate(dx, grads, dy):
            arrays = [a for a in [*(dx if isinstance(dx, tuple) else (dx,)), *(grads or {}).values()] if a is not None and np.abs(a).max() > 1e-9]
            a = arrays[which % len(arrays)]
            where = np.argsort(-np.abs(a), axis=None)[entry % max(1, a.size // 4)]         # of the larger ones
            a.flat[where] *= 1 + delta
            return dx, grads

        which, entry, delta = rng.integers(100), rng.integers(100), 10 ** rng.uniform(-5, -1)
        layer, x = LAYERS[name](rng)
        with pytest.raises(AssertionError, match="wrong gradient at .* 1 of "):
            check_gradients(but(layer, mutate), x)


# --- the plain check, by the book ---

def test_the_plain_check_and_the_careful_one_agree_at_smooth_places(rng):
    layer, x = Conv2D(2, 3, 3, 2, rng, dtype=float), rng.normal(size=(5, 2, 4, 3))
    errors = relative_errors(layer, x)
    assert errors.keys() == {"x", "w", "b"} and max(e.max() for e in errors.values()) < 1e-7
    assert check_gradients(layer, x) < 1e-7


def test_the_plain_check_and_the_careful_one_name_the_same_wrong_entry(rng):
    class Wrong(Dense):
        def backward(self, dy, x):
            dx, grads = super().backward(dy, x)
            grads["w"][2, 1] *= 1.001
            return dx, grads

    layer, x = Wrong(4, 3, rng, dtype=float), rng.normal(size=(4, 5))
    errors = relative_errors(layer, x)
    assert np.argwhere(errors["w"] > 1e-6).tolist() == [[2, 1]] and errors["w"].max() == pytest.approx(0.001, rel=0.01)
    with pytest.raises(AssertionError, match=r"wrong gradient at params\['w'\]\[2\]\[1\]"):
        check_gradients(layer, x)


def test_the_plain_check_changes_nothing(rng):
    layer, x = Dense(4, 3, rng, dtype=float), rng.normal(size=(4, 5))
    before = layer.params["w"].copy(), x.copy()
    relative_errors(layer, x)
    assert np.array_equal(layer.params["w"], before[0]) and np.array_equal(x, before[1])


class Packed:
    """Its parameters are views of one array, which forward reads instead of them."""

    def __init__(self, rng):
        self.all = rng.normal(size=6)
        self.params = {"w": self.all[:4].reshape(2, 2), "b": self.all[4:]}

    def forward(self, x):
        return self.all[:4].reshape(2, 2) @ x + self.all[4:, None], x

    def backward(self, dy, x):
        return self.params["w"].T @ dy, {"w": dy @ x.T, "b": dy.sum(axis=1)}


def test_a_parameter_that_forward_does_not_read_is_named_as_such(rng):
    with pytest.raises(AssertionError, match=r"params\['(w|b)'\].*\(moving this array changes no output: does forward read it\?\)"):
        check_gradients(Packed(rng), rng.normal(size=(2, 3)))


def test_an_output_that_is_not_finite_is_named(rng):
    class Exp:
        params = {}

        def forward(self, x):
            return np.exp(x), np.exp(x)

        def backward(self, dy, y):
            return dy * y, {}

    with pytest.raises(AssertionError, match=r"expected finite outputs from forward, got inf at y\[1\]"):
        check_gradients(Exp(), np.array([1.0, 1000.0]))


class Flat:
    """Its parameters are made anew at each access: views of one array."""

    def __init__(self, dtype, factor):
        self.all, self.factor = np.linspace(1, 2, 4).astype(dtype), factor

    @property
    def params(self):
        return {"w": self.all.reshape(2, 2)}

    def forward(self, x):
        return self.params["w"] @ x, x

    def backward(self, dy, x):
        return self.params["w"].T @ dy, {"w": self.factor * dy @ x.T}


def test_parameters_that_are_views_are_checked(rng):
    check_gradients(Flat(np.float64, 1), rng.normal(size=(2, 3)))
    with pytest.raises(AssertionError, match=r"wrong gradient at params\['w'\]"):
        check_gradients(Flat(np.float64, 7), rng.normal(size=(2, 3)))


def test_parameters_that_no_copy_in_float64_can_take_the_place_of_are_an_error(rng):
    with pytest.raises(TypeError, match=r"expected params\['w'\] to be one array, .* got another one of float32"):
        check_gradients(Flat(np.float32, 7), rng.normal(size=(2, 3)))


@pytest.mark.parametrize("tolerance", [0, -1e-6, float("nan")])
def test_a_tolerance_that_allows_nothing_or_anything_is_an_error(tolerance, rng):
    with pytest.raises(ValueError, match="expected a positive tolerance, got"):
        check_gradients(LeakyReLU(), rng.normal(size=3), tolerance=tolerance)


class Given:
    """y = a x + b, with parameters and gradients as given."""

    def __init__(self, params, **returned):
        self.params, self.returned = params, returned

    def forward(self, *xs):
        return self.params["a"] * xs[0] + self.params["b"], xs

    def backward(self, dy, xs):
        dx = tuple(self.params["a"] * dy if i == 0 else np.zeros_like(x) for i, x in enumerate(xs))
        grads = {"a": (dy * xs[0]).sum(), "b": dy.sum()}
        return self.returned.get("dx", dx), self.returned.get("grads", grads)


ARRAYS = {"a": np.array(1.0), "b": np.array(1.0)}


def test_two_parameters_of_one_value_are_two():
    check_gradients(Given(ARRAYS), (np.array([1.0, 2.0]),))


@pytest.mark.parametrize("layer, inputs, error, message", [
    (Given({"a": 1.0, "b": 1.0}), 1, TypeError, r"expected params\['a'\] to be an array, got one float"),
    (Given({"a": np.array(1.0), "b": 2}), 1, TypeError, r"expected params\['b'\] to be an array, got one int"),
    (Given([1.0]), 1, TypeError, "expected params, a dict of arrays, got one list"),
    (Given(ARRAYS, grads=[1.0, 1.0]), 1, TypeError, "expected a dict of gradients from backward, got one list"),
    (Given(ARRAYS, grads={"a": np.array(3.0), "b": None}), 1, AssertionError, r"params\['b'\] of shape \(\), got None"),
    (Given(ARRAYS, dx=(np.ones(2), np.ones(2), np.ones(2))), 2, TypeError, "expected 2 gradients in dx from backward, got 3")])
def test_what_is_no_gradient_or_no_parameter_is_named(layer, inputs, error, message):
    with pytest.raises(error, match=message):
        check_gradients(layer, (np.array([1.0, 2.0]),) * inputs)


def test_a_gradient_whose_square_is_infinite_hides_no_error():
    with pytest.raises(AssertionError, match=r"wrong gradient at x\[0\]"):
        check_gradients(Function(np.exp, lambda x: -np.exp(x)), np.array([360.0, 0.0]))


def test_a_right_gradient_whose_product_with_its_input_is_infinite_passes():
    check_gradients(Function(np.exp, np.exp), np.array([705.0, 0.0]))


def test_a_gradient_none_of_a_parameter_that_is_not_there_is_none(rng):
    class OneMore(Linear):
        def backward(self, dy, x):
            dx, grads = super().backward(dy, x)
            return dx, {**grads, "c": None}

    check_gradients(OneMore(rng), rng.normal(size=(4, 2)))


def test_an_error_below_a_millionth_is_told_from_none():
    with pytest.raises(AssertionError, match=r"a factor of 1\.0000001"):
        check_gradients(Function(np.sin, lambda x: (1 + 1e-7) * np.cos(x)), np.array([0.5]), tolerance=1e-8)
