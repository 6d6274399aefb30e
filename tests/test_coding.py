import numpy as np
import pytest

from tinycodec.entropy import NoisyGaussian
from tinycodec.coding import cumulative, decode, encode, shortest_in
from tinycodec.machine.rangecoder import GaussianRangeCoder

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
    (np.zeros((2, 3), int), r"\(n, 4\)"), (np.zeros((2, 4)), r"integers \(n, 4\), got float64"), (np.full((2, 4), 201), "within ±200"),
    (np.full((2, 4), -201), "within ±200"), (np.full((2, 4), -2**31, np.int32), "within ±200")])
def test_integers_that_do_not_fit_are_an_error(k, message, coder):
    with pytest.raises(ValueError, match=message):
        coder.encode(k, MEAN)


# --- the coder by the book is the coder that runs ---

def by_the_book(row, mean, std, limit):
    return encode(row.tolist(), mean.tolist(), std.tolist(), limit)


@pytest.mark.parametrize("d", [0, 1, 3, 50, 3000])
def test_the_coder_by_the_book_writes_and_reads_the_bytes_of_constriction(d, rng):
    limit, std, mean = 20, np.exp(rng.uniform(-3.5, 1, d)), rng.uniform(-0.5, 0.5, d)
    k = np.rint(rng.normal(mean, std)).clip(-limit, limit).astype(int)
    data = GaussianRangeCoder(std, limit).encode(k[None], mean)
    assert by_the_book(k, mean, std, limit) == data
    assert decode(data, mean.tolist(), std.tolist(), limit) == k.tolist()


@pytest.mark.parametrize("k", [[200, -200, 200, -200], [-200, 200, -200, 200]])
def test_the_coder_by_the_book_codes_the_most_improbable_integers(k):
    data = by_the_book(np.array(k), MEAN, STD, 200)
    assert data == GaussianRangeCoder(STD, 200).encode(np.array([k]), MEAN)
    assert decode(data, MEAN.tolist(), STD.tolist(), 200) == k


def test_the_coder_by_the_book_refuses_what_constriction_refuses(coder):
    with pytest.raises(ValueError, match="no range encoder"):
        decode(b"\xff" * 40, [0.0] * 12, [1.0] * 12, 200)


@pytest.mark.parametrize("mean, std", [(0, 1), (0.3, 0.01), (-2, 12)])
def test_cumulative_gives_every_integer_a_share_of_the_whole(mean, std):
    F = [cumulative(k, mean, std, 20) for k in range(-20, 22)]
    assert F[0] == 0 and F[-1] == 2**24 and min(np.diff(F)) >= 1


def test_the_shortest_bytes_in_an_interval_are_in_it_and_none_shorter_are(rng):
    for _ in range(2000):
        low, width = int(rng.integers(0, 2**24 - 1)), int(2 ** rng.uniform(0, 20))
        width = min(width, 2**24 - low)
        data = shortest_in((low, width, 24))
        assert low <= int.from_bytes(data.ljust(3, b"\0"), "big") < low + width
        shorter = 256 ** (4 - len(data))                   # numbers of one byte less are its multiples
        assert not data or -(-low // shorter) * shorter >= low + width


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.int64])
def test_the_coder_by_the_book_takes_numpys_integers(kind):
    k, means, stds = np.array([0, 1, -2], np.int8), np.zeros(3), np.ones(3)
    data = encode(k, means, stds, kind(20))
    assert data == b"\x93" and decode(data, means, stds, kind(20)) == k.tolist()


@pytest.mark.parametrize("k", [-21, 21, 10**6])
def test_the_coder_by_the_book_refuses_integers_beyond_its_limit(k):
    with pytest.raises(ValueError, match=f"expected integers in ±20, got {k}"):
        encode([0, k], [0, 0], [1, 1], 20)


def test_the_coder_by_the_book_refuses_lists_of_different_lengths():
    with pytest.raises(ValueError):
        encode([0, 1, 2], [0], [1], 20)
    with pytest.raises(ValueError):
        decode(b"", [0, 0], [1], 20)
