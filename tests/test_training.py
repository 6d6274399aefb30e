import numpy as np
import pytest

import tinycodec as tc
from tinycodec.files.checkpoint import fingerprint
from tinycodec import check_gradients
from tinycodec.training import adam_step, schedule, train_plainly
from tinycodec.entropy import NoisyGaussian
from tinycodec.layers import Conv2D, ConvTranspose2D, Dense, LeakyReLU, Reshape, Sequential
from tinycodec.machine import workers
from tinycodec.machine.session import Adam, in_shards
from tinycodec.model import Model, as_pixels, loss_and_gradients, pixel_errors


class SmallCodec(Model):
    """The codec's structure on 4×4 images, small enough to check every gradient."""

    def __init__(self, rng):
        self.g_a = Sequential(Conv2D(1, 2, 5, 2, rng), LeakyReLU(), Reshape(8), Dense(8, 3, rng))
        self.g_s = Sequential(Dense(3, 8, rng), LeakyReLU(), Reshape(2, 2, 2), ConvTranspose2D(2, 1, 5, 2, rng),
                              LeakyReLU())
        self.prior = NoisyGaussian(3)


class LossLayer:
    """The training loss as a layer without input, for `check_gradients` of all its parameters."""

    def __init__(self, codec, *arguments):
        self.codec, self.arguments = codec, arguments
        self.params = codec.params

    def forward(self, x):
        (loss, _, _), grads = loss_and_gradients(self.codec, *self.arguments)
        return loss, (x, grads)

    def backward(self, dy, cache):
        x, grads = cache
        return np.zeros_like(x), {name: dy * g for name, g in grads.items()}


@pytest.mark.parametrize("distortion", ["mae", "mse"])
def test_gradients_of_the_whole_loss_are_right(distortion, rng):
    x, noise = rng.random((4, 1, 4, 3)), rng.uniform(-0.5, 0.5, (3, 3))
    x[:2] = x[:2].round()                                  # black and white, where an error has but one side
    check_gradients(LossLayer(SmallCodec(rng), x, noise, 10.0, distortion, 0.7), np.zeros(0))


def test_gradients_of_the_whole_loss_at_full_size_are_right(mnist, rng):
    codec = tc.Codec(latent_dims=5)
    loss = LossLayer(codec, as_pixels(mnist[0][:2]).astype(float), rng.uniform(-0.5, 0.5, (5, 2)), 100.0, "mae")
    # Added noise moves biases off 0, where black pixels would put leaky ReLUs right on their kink.
    for p in codec.params.values():
        p += 0.01 * rng.normal(size=p.shape)
    check_gradients(loss, np.zeros(0), large=5)


def test_pixels_that_clipping_makes_right_have_no_error_and_all_others_have_theirs():
    x, x_hat = np.array([[0, 0, 0.5, 0.5, 1, 1], [-0.1, 0.2, -0.1, 1.2, 0.7, 1.3]])
    np.testing.assert_allclose(pixel_errors(x_hat, x), [0, 0.2, -0.6, 0.7, -0.3, 0])


def test_shards_of_a_batch_add_up_to_the_batch(mnist, rng):
    codec, x, noise = tc.Codec(latent_dims=5), as_pixels(mnist[0][:7]), rng.uniform(-0.5, 0.5, (5, 7)).astype(np.float32)
    terms, grads = loss_and_gradients(codec, x, noise, 100)
    with workers(2) as on_threads:
        summed, (a, b) = in_shards(codec, mnist[0][:7], noise, 100, "mae", 1.0, on_threads)
    np.testing.assert_allclose(summed, terms, rtol=1e-5)
    for name, g in grads.items():
        np.testing.assert_allclose(a[name] + b[name], g, atol=1e-5 * np.abs(g).max())


def test_the_fast_adam_is_the_plain_one(rng):
    p = rng.normal(size=(2, 100_000))
    expected, m, v = p.copy(), np.zeros_like(p), np.zeros_like(p)
    adam = Adam({"p": p})
    for t in range(1, 4):
        shards = rng.normal(size=(2, *p.shape))
        adam.update([{"p": g} for g in shards], 0.01, lambda function, items: [function(i) for i in items])
        adam_step(expected, shards.sum(axis=0), m, v, t, 0.01)
        np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_a_large_gradient_after_a_calm_moves_adam_by_one_learning_rate():
    p = np.zeros(1)
    adam = Adam({"p": p})
    for g in [1e-6] * 500 + [1.0]:
        before = p.copy()
        adam.update([{"p": np.full(1, g)}], 0.001, lambda function, items: [function(i) for i in items])
    np.testing.assert_allclose(before - p, 0.001, rtol=0.01)


def test_the_first_step_of_adam_is_one_learning_rate_whatever_the_gradient(rng):
    p, g = np.zeros(100), rng.normal(size=100)
    adam_step(p, g, np.zeros(100), np.zeros(100), 1, 0.01)
    np.testing.assert_allclose(p, -0.01 * np.sign(g), rtol=1e-4)


def test_the_learning_rate_falls_to_nothing_and_the_rates_weight_rises_to_one():
    learning_rates, weights = np.transpose([schedule(step, 1000, 250, 4e-3) for step in range(1000)])
    assert learning_rates[0] == 4e-3 and learning_rates[-1] < 1e-5 and (np.diff(learning_rates) < 0).all()
    assert weights[0] == 0.125 and (np.diff(weights[:101]) > 0).all() and (weights[100:] == 1).all()
    assert schedule(0, 1000, 2000, 4e-3)[1] == schedule(0, 1000, 8000, 4e-3)[1] == 1


def test_adam_moves_a_parameter_by_its_own_multiple_of_the_learning_rate():
    params = {"slow": np.ones(3), "fast": np.ones(3)}
    adam = Adam(params, speed={"fast": 20})
    adam.update([{name: np.ones(3) for name in params}], 0.001, lambda function, items: [function(i) for i in items])
    np.testing.assert_allclose(1 - params["fast"], 20 * (1 - params["slow"]))


def train_a_little(mnist, seed=0, **options):
    codec = tc.Codec(latent_dims=5)
    history = tc.train(codec, mnist[0][:40], lmbda=1000, epochs=2, batch=16, seed=seed, progress=False, **options)
    return codec, history


def test_a_single_step_trains(mnist):
    codec = tc.Codec(latent_dims=2)
    tc.train(codec, mnist[0][:100], lmbda=1000, epochs=1, progress=False)
    assert all((p != q).any() for p, q in zip(codec.params.values(), tc.Codec(latent_dims=2).params.values()))


def test_training_lowers_the_loss(training):
    _, history = training
    assert history["loss"][-10:].mean() < 0.7 * history["loss"][:5].mean()


def test_history_holds_every_step_and_loss_is_rate_plus_lmbda_distortion(mnist):
    _, history = train_a_little(mnist)
    assert {name: len(values) for name, values in history.items()} == {"loss": 6, "rate": 6, "distortion": 6}
    np.testing.assert_allclose(history["loss"], history["rate"] + 1000 * history["distortion"])


@pytest.mark.parametrize("threads", [1, 2])
def test_the_same_seed_gives_the_same_bits(threads, mnist):
    (a, _), (b, _) = (train_a_little(mnist, threads=threads) for _ in range(2))
    for name, p in a.params.items():
        np.testing.assert_array_equal(p, b.params[name])


@pytest.mark.parametrize("threads", [1, 2])
def test_train_is_train_plainly_but_for_rounding(threads, mnist):
    trained, _ = train_a_little(mnist, seed=3, learning_rate=1e-3, threads=threads)
    plain = tc.Codec(latent_dims=5)
    train_plainly(plain, mnist[0][:40], lmbda=1000, epochs=2, batch=16, learning_rate=1e-3, seed=3)
    for name, p in trained.params.items():
        np.testing.assert_allclose(plain.params[name], p, atol=1e-4)


def test_another_seed_gives_another_model(mnist):
    (a, _), (b, _) = (train_a_little(mnist, seed=seed) for seed in (0, 1))
    assert fingerprint(a) != fingerprint(b)


def test_the_number_of_threads_changes_nothing_but_rounding(mnist):
    (_, one), (_, two), (_, four) = (train_a_little(mnist, threads=threads) for threads in (1, 2, 4))
    np.testing.assert_allclose(one["loss"], two["loss"], rtol=1e-4)
    np.testing.assert_allclose(one["loss"], four["loss"], rtol=1e-4)


@pytest.mark.parametrize("n, batch", [(1, 128), (130, 128), (3, 2)])
def test_the_last_partial_batch_is_trained_on(n, batch, mnist):
    history = tc.train(tc.Codec(latent_dims=2), mnist[0][:n], 1000, epochs=1, batch=batch, threads=4, progress=False)
    assert len(history["loss"]) == -(-n // batch)


@pytest.mark.filterwarnings("ignore:.* encountered in")
def test_a_loss_that_is_not_finite_stops_training_and_keeps_the_parameters(mnist):
    codec = tc.Codec(latent_dims=2)
    codec.params["g_s.0.w"][0, 0] = np.inf
    before = codec.params["g_s.2.w"].copy()
    with pytest.raises(FloatingPointError, match="the loss is (nan|inf) at step 1: a lower"):
        tc.train(codec, mnist[0][:128], 1000, epochs=1, progress=False)
    np.testing.assert_array_equal(codec.params["g_s.2.w"], before)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_weights_that_are_not_finite_after_an_epoch_end_the_training_before_they_are_written(mnist, tmp_path):
    path = tmp_path / "checkpoint"
    with pytest.raises(FloatingPointError, match="weights are not finite after step 1"):
        tc.train(tc.Codec(latent_dims=2), mnist[0][:8], 1e30, epochs=1, learning_rate=1e38, progress=False, checkpoint=path)
    assert np.isfinite(tc.Codec.load(path).params["g_a.0.w"]).all()


@pytest.mark.parametrize("options, message", [
    ({"lmbda": 0}, "positive, finite lmbda, got 0"), ({"lmbda": np.nan}, "lmbda"), ({"epochs": 0}, "epochs"),
    ({"batch": 1.5}, "batch"), ({"threads": -1}, "threads"), ({"learning_rate": -1}, "learning_rate"),
    ({"distortion": "ssim"}, "'mae' or 'mse', got 'ssim'"), ({"seed": -1}, "expected a seed, an integer from 0, got -1"),
    ({"lmbda": "a"}, "lmbda, got 'a'"), ({"learning_rate": None}, "learning_rate, got None"),
    ({"lmbda": [1, 2]}, r"lmbda, got \[1, 2\]")])
def test_wrong_options_are_an_error(options, message, mnist):
    with pytest.raises(ValueError, match=message):
        tc.train(tc.Codec(latent_dims=2), mnist[0][:2], **({"lmbda": 1, "epochs": 1, "progress": False} | options))


def test_what_is_no_codec_is_an_error_before_it_is_trained(mnist):
    with pytest.raises(ValueError, match="expected a codec, got one Model"):
        tc.train(Model(2), mnist[0][:2], 1)


def test_nothing_to_train_on_is_an_error():
    with pytest.raises(ValueError, match="at least one image"):
        tc.train(tc.Codec(latent_dims=2), np.zeros((0, 28, 28), np.uint8), 1)


def test_progress_is_a_plain_line_an_epoch_where_there_is_no_terminal(mnist, capsys):
    tc.train(tc.Codec(latent_dims=2), mnist[0][:20], 1000, epochs=2, batch=8)
    out, err = capsys.readouterr()
    assert out == "" and "\r" not in err
    assert [line.split("%")[0] for line in err.splitlines()] == ["epoch 1/2 100", "epoch 2/2 100"]


def test_silence_is_silent(mnist, capsys):
    train_a_little(mnist)
    assert capsys.readouterr() == ("", "")


def test_a_prior_that_is_put_in_place_of_the_codecs_is_trained(mnist):
    codec = tc.Codec(latent_dims=2)
    codec.prior = NoisyGaussian(2)
    tc.train(codec, mnist[0][:8], 1000, epochs=1, progress=False)
    assert codec.prior.params["log_sigma"].all()
