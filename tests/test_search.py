import numpy as np
import pytest

from tests import batches_of
from tinycodec.files.stream import dither
from tinycodec.search import refine_integers

LMBDA = 2000


def loss(codec, images, k, u=np.float32(0)):
    y_hat = codec.dequantise(k, u)
    return codec.bits(y_hat).sum(axis=1) + LMBDA * np.abs(images / 255 - codec.synthesis(y_hat) / 255).mean(axis=(1, 2))


@pytest.fixture(scope="module", autouse=True)
def small_batches():
    """Fewer images than usual are searched, and decoded, at once."""
    with batches_of(16):
        yield


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist[1][:16]                                 # what is searched at once


@pytest.fixture(scope="module")
def rounded(codec, digits):
    return codec.quantise(codec.analysis(digits))


@pytest.fixture(scope="module")
def refined(codec, digits, rounded):
    """Integers after one sweep and after two."""
    return [refine_integers(codec, digits, rounded, np.float32(0), LMBDA, n) for n in (1, 2)]


def test_no_image_gets_worse_and_more_sweeps_are_better(codec, digits, rounded, refined):
    before, once, twice = (loss(codec, digits, k) for k in (rounded, *refined))
    assert (once < before + 1e-3).all() and once.mean() < before.mean() - 1
    assert (twice < once + 1e-3).all() and twice.mean() < once.mean()


def test_no_dithered_image_gets_worse(codec, digits):
    u = dither("dither", 1, (len(digits), codec.latent_dims))
    k = codec.quantise(codec.analysis(digits), u)
    before, after = loss(codec, digits, k, u), loss(codec, digits, refine_integers(codec, digits, k, u, LMBDA, 1), u)
    assert (after < before + 1e-3).all() and after.mean() < before.mean() - 1


def test_the_integers_given_are_left_as_they_were(codec, digits, rounded, refined):
    np.testing.assert_array_equal(rounded, codec.quantise(codec.analysis(digits)))


def test_refined_streams_and_strings_decode_to_the_same_better_images(codec, digits, refined):
    options, expected = {"lmbda": LMBDA, "refine": 1}, codec.synthesis(codec.dequantise(refined[0]))
    np.testing.assert_array_equal(codec.decompress(codec.compress(digits, **options)), expected)
    np.testing.assert_array_equal(codec.decompress_each(codec.compress_each(digits, **options)), expected)


def test_images_may_be_a_list(codec, digits):
    options = {"lmbda": LMBDA, "refine": 1}
    assert codec.compress(list(digits[:3]), **options) == codec.compress(digits[:3], **options)


@pytest.mark.parametrize("n", [0, 1, 17])
def test_any_number_of_images_is_searched_as_each_batch_alone(n, codec, mnist):
    images = mnist[1][:n]
    k = codec.quantise(codec.analysis(images))
    together, first, others = (refine_integers(codec, images[part], k[part], np.float32(0), LMBDA, 1)
                               for part in (slice(None), slice(16), slice(16, None)))
    assert together.shape == k.shape
    np.testing.assert_array_equal(together, np.concatenate([first, others]))
