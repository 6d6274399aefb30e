import numpy as np
import pytest

from tinycodec.experiments.metrics import bd_rate, entropy, mean_absolute_error, psnr

RATES, QUALITIES = np.array([10.0, 20, 45, 80]), np.array([20.0, 26, 30, 33])


def test_psnr_and_mean_absolute_error_of_a_known_error():
    images = np.full((1, 28, 28), 100, np.uint8)
    assert psnr(images, images + np.uint8(51)) == pytest.approx(-20 * np.log10(0.2))
    assert mean_absolute_error(images, images + np.uint8(51)) == pytest.approx(0.2)


def test_psnr_of_equal_images_is_finite():
    images = np.zeros((2, 28, 28), np.uint8)
    assert psnr(images, images).tolist() == [100, 100]


def test_bd_rate_of_a_curve_with_itself_is_zero():
    assert bd_rate((RATES, QUALITIES), (RATES, QUALITIES)) == 0


def test_bd_rate_at_half_the_rate_is_minus_one_half():
    assert bd_rate((RATES, QUALITIES), (RATES / 2, QUALITIES)) == pytest.approx(-0.5)


def test_bd_rate_does_not_care_for_the_order_of_points():
    assert bd_rate((RATES[::-1], QUALITIES[::-1]), (RATES / 2, QUALITIES)) == pytest.approx(-0.5)


def test_bd_rate_looks_only_where_both_curves_are():
    assert bd_rate((RATES, QUALITIES), (2 * RATES[1:3], QUALITIES[1:3])) == pytest.approx(1, abs=0.1)


def test_bd_rate_of_curves_that_never_meet_is_an_error():
    with pytest.raises(ValueError, match="share no quality"):
        bd_rate((RATES, QUALITIES), (RATES, QUALITIES + 100))


def test_a_prior_costs_the_kullback_leibler_divergence_on_top_of_the_entropy(rng):
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    k = rng.permutation(np.repeat(np.arange(3), (1000 * p).astype(int)))[:, None]
    assert -np.log2(q[k]).mean() - entropy(k) == pytest.approx((p * np.log2(p / q)).sum())
