import itertools
import math

import numpy as np
import pytest

from tinycodec.entropy import NoisyGaussian
from tinycodec.coding import GaussianRangeCoder

MEAN, STD = np.array([0.0, 0.3, -2.0, 0.0]), np.array([0.01, 0.4, 3.0, 12.0])


@pytest.fixture
def coder():
    return GaussianRangeCoder(STD, limit=200)


def draw(n, rng):
    return np.rint(rng.normal(MEAN, STD, (n, 4))).astype(int)


def ideal_bits(k, mean=MEAN, std=STD):
    prior = NoisyGaussian(len(mean), np.float64)
    prior.params.update(mu=mean, log_sigma=np.log(std))
    return prior.forward(k.T.astype(float))[0].sum(axis=0)


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_round_trip(n, coder, rng):
    k = draw(n, rng)
    np.testing.assert_array_equal(coder.decode(coder.encode(k, MEAN), n, MEAN), k)


def test_the_decoder_is_the_one_specified(rng):
    def words(data):
        yield from np.frombuffer(data + bytes(-len(data) % 4), ">u4").tolist()
        yield from itertools.repeat(0)

    def F(k, mean, std):
        if abs(k - 0.5) > limit:
            return 2**24 * (k > 0)
        return int((2**24 - 1 - 2 * limit) * ((1 + math.erf((k - 0.5 - mean) / (std * math.sqrt(2)))) / 2)) + k + limit

    limit, d = 20, 10_000
    std, mean = np.exp(rng.uniform(-3.5, 1, d)), rng.uniform(-0.5, 0.5, d)
    k = np.rint(rng.normal(mean, std)).astype(int)
    word = words(GaussianRangeCoder(std, limit).encode(k[None], mean))
    point, width = next(word) << 32 | next(word), 2**64 - 1
    for i, parameters in enumerate(zip(mean.tolist(), std.tolist())):
        s = width >> 24
        decoded = next(k for k in range(-limit, limit + 1) if point // s < F(k + 1, *parameters))
        assert decoded == k[i]
        point -= s * F(decoded, *parameters)
        width = s * (F(decoded + 1, *parameters) - F(decoded, *parameters))
        if width < 2**32:
            point, width = point << 32 | next(word), width << 32


def test_improbable_integers_round_trip(coder):
    k = np.array([[200, -200, 200, -200]])
    np.testing.assert_array_equal(coder.decode(coder.encode(k, MEAN), 1, MEAN), k)


def test_bytes_are_as_many_as_the_probabilities_say(coder, rng):
    k = draw(10_000, rng)
    assert 8 * len(coder.encode(k, MEAN)) == pytest.approx(ideal_bits(k).sum(), rel=1e-3)


def test_strings_round_trip(coder, rng):
    k = draw(1000, rng)
    strings = coder.encode_each(k, MEAN)
    np.testing.assert_array_equal(np.concatenate([coder.decode(s, 1, MEAN) for s in strings]), k)


def test_no_shorter_string_decodes_to_the_same(coder, rng):
    k = draw(200, rng)
    for row, string in zip(k, coder.encode_each(k, MEAN)):
        for m in range(min(len(string), 2)):
            for shorter in range(256**m):
                try:
                    assert not np.array_equal(coder.decode(shorter.to_bytes(m, "big"), 1, MEAN)[0], row)
                except ValueError:
                    pass


def test_strings_cost_the_overhead_of_whole_bytes_and_no_more(rng):
    std = np.geomspace(0.3, 10, 20)
    k = np.rint(rng.normal(0, std, (20_000, 20))).astype(int)
    strings = GaussianRangeCoder(std, limit=200).encode_each(k, np.zeros(20))
    overhead = 8 * np.mean([len(s) for s in strings]) - ideal_bits(k, np.zeros(20), std).mean()
    assert overhead == pytest.approx(4 - 1 / np.log(2), abs=0.05)


def test_random_bits_decode_to_samples_of_the_prior(coder, rng):
    k = coder.sample(20_000, rng, MEAN)
    np.testing.assert_allclose(k.mean(axis=0), MEAN, atol=0.3)
    np.testing.assert_allclose(k.var(axis=0)[2:], STD[2:] ** 2 + 1 / 12, rtol=0.05)


def test_refuses_bytes_that_no_encoder_wrote(coder):
    with pytest.raises(ValueError, match="no range encoder"):
        coder.decode(b"\xff" * 40, 3, MEAN)


@pytest.mark.parametrize("std, limit, message", [
    ([0.0], 10, "positive"), ([-1.0], 10, "positive"), ([np.nan], 10, "finite"), ([np.inf], 10, "finite"),
    (1.0, 10, r"shape \(d,\)"), ([1.0], 0, "limit"), ([1.0], 2**23, "limit")])
def test_bad_parameters_are_an_error_before_they_are_a_panic(std, limit, message):
    with pytest.raises(ValueError, match=message):
        GaussianRangeCoder(std, limit)


@pytest.mark.parametrize("mean", [np.nan, [0, 0, 0, np.inf]])
def test_a_mean_that_is_not_finite_is_an_error(mean, coder):
    with pytest.raises(ValueError, match="finite mean"):
        coder.encode(np.zeros((1, 4), int), mean)


def test_each_row_may_have_its_own_mean(coder, rng):
    mean = rng.uniform(-0.5, 0.5, (50, 4))
    k = np.rint(rng.normal(mean, STD)).astype(int)
    np.testing.assert_array_equal(coder.decode(coder.encode(k, mean), 50, mean), k)


@pytest.mark.parametrize("k, message", [
    (np.zeros((2, 3), int), r"\(n, 4\)"), (np.zeros((2, 4)), "integers of shape"), (np.full((2, 4), 201), "within ±200"),
    (np.full((2, 4), -201), "within ±200"), (np.full((2, 4), -2**31, np.int32), "within ±200")])
def test_integers_that_do_not_fit_are_an_error(k, message, coder):
    with pytest.raises(ValueError, match=message):
        coder.encode(k, MEAN)
