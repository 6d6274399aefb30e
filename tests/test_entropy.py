import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from tinycodec import check_gradients
from tinycodec.entropy import NoisyGaussian


def prior(mu, sigma, dtype=np.float64):
    layer = NoisyGaussian(len(mu), dtype)
    layer.params["mu"][:] = mu
    layer.params["log_sigma"][:] = np.log(sigma)
    return layer


@pytest.mark.parametrize("mu, sigma", [(0, 1), (0.3, 0.1), (-2.5, 7), (0.5, 1e-3)])
def test_probabilities_of_integers_sum_to_one(mu, sigma):
    bits, _ = prior([mu], [sigma]).forward(np.arange(-100.0, 101)[None])
    assert (2.0**-bits).sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("mu, sigma", [(0, 1), (0.3, 0.1), (-2.5, 7)])
def test_density_is_that_of_gaussian_plus_uniform_noise(mu, sigma):
    y = np.linspace(mu - 3 * sigma - 1, mu + 3 * sigma + 1, 7)
    convolution = [quad(lambda u: norm.pdf(v - u, mu, sigma), -0.5, 0.5)[0] for v in y]
    bits, _ = prior([mu], [sigma]).forward(y[None])
    np.testing.assert_allclose(2.0**-bits[0], convolution, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.2, 1, 5])
def test_rate_of_samples_from_the_prior_is_its_entropy(sigma, rng):
    samples = rng.normal(0.4, sigma, 100_000) + rng.uniform(-0.5, 0.5, 100_000)
    rate = prior([0.4], [sigma]).forward(samples[None])[0].mean()

    def p(v):
        return norm.cdf((v + 0.5) / sigma) - norm.cdf((v - 0.5) / sigma)
    entropy, _ = quad(lambda v: -p(v) * np.log2(p(v)), -8 * sigma - 0.5, 8 * sigma + 0.5, points=[-0.5, 0.5], limit=200)
    assert rate == pytest.approx(entropy, abs=0.02)


def test_gradients_are_right(rng):
    sigma = [0.05, 0.5, 1, 30]
    y = np.array(sigma)[:, None] * rng.normal(size=(4, 6)) + rng.uniform(-0.5, 0.5, (4, 6))
    check_gradients(prior([0, 0.1, -1, 2], sigma), y)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sigma", 10.0 ** np.arange(-4, 5))
def test_finite_and_right_ten_thousand_standard_deviations_out(sigma, dtype):
    # Far out, p(ỹ) is all in the near end of the interval: −log p ≈ b²/2 with slope −b/σ (Mills).
    layer = prior([0.0], [sigma], dtype)
    y = np.array([[1e4 * max(sigma, 1), -1e4 * max(sigma, 1)]], dtype)
    bits, cache = layer.forward(y)
    dy, grads = layer.backward(np.ones_like(bits), cache)
    b = 1e4 * max(sigma, 1) / sigma - 0.5 / sigma
    np.testing.assert_allclose(bits, b * b / 2 / np.log(2), rtol=1e-4)
    np.testing.assert_allclose(dy, [[b / sigma / np.log(2), -b / sigma / np.log(2)]], rtol=1e-4)
    np.testing.assert_allclose(grads["log_sigma"], -2 * b * b / np.log(2), rtol=1e-4)


@pytest.mark.parametrize("sigma", [1e2, 1e4])
def test_a_wide_prior_is_the_gaussian_density(sigma, rng):
    y = sigma * rng.normal(size=(1, 50))
    bits, _ = prior([0.0], [sigma]).forward(y)
    np.testing.assert_allclose(bits, -norm.logpdf(y, 0, sigma) / np.log(2), rtol=1e-5)


def test_a_narrow_prior_costs_nothing_at_its_mean():
    bits, _ = prior([3.0], [1e-4]).forward(np.array([[3.0]]))
    assert bits == 0
