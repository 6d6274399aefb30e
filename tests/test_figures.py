import numpy as np
import pytest
from matplotlib.image import imread

import tinycodec as tc
from tinycodec.experiments import figures


def test_every_figure_is_a_png(codec, mnist, tmp_path, rng):
    images = mnist[1][:100]
    strings = codec.compress_each(images[:4])
    history = {"rate": rng.random(50), "distortion": rng.random(50)}
    figures.digits(tmp_path / "digits.png", images[:4], codec.decompress_each(strings), strings, "digits")
    figures.latents(tmp_path / "latents.png", {"before": tc.Codec(20), "after": codec}, images, rng)
    figures.training_curves(tmp_path / "training.png", history, 2)
    figures.grid(tmp_path / "samples.png", codec.sample(12, rng), 6, "samples")
    figures.basis_walk(tmp_path / "basis.png", codec, images)
    for path in tmp_path.iterdir():
        assert min(imread(path).shape[:2]) > 50
    assert len(list(tmp_path.iterdir())) == 5


def test_the_bytes_of_one_digit_are_those_of_compress_each(codec, mnist):
    for image in mnist[1][:20]:
        string, = codec.compress_each(image[None])
        digit = figures.follow(codec, image)
        assert digit.string == string
        assert string.hex(" ") in figures.one_digit_table(codec, image)
        np.testing.assert_array_equal(digit.decoded, codec.decompress_each([string])[0])


def test_the_interval_of_one_digit_narrows_around_its_bytes_as_fast_as_the_bits_say(codec, mnist):
    digit = figures.follow(codec, mnist[1][0])
    before = 0, 1
    for i in range(codec.latent_dims):
        low, high = (int(end, 2) / 2**len(end) for end in figures.interval(codec, digit.k[:i + 1].tolist()))
        assert before[0] <= low < high <= before[1]
        assert -np.log2(high - low) == pytest.approx(digit.so_far[i], abs=1e-3)
        before = low, high
    number = int.from_bytes(digit.string, "big") / 256**len(digit.string)
    assert low <= number <= high


def test_the_table_of_one_digit_adds_up_to_its_information_content(codec, mnist):
    image = mnist[1][0]
    *rows, _, _ = figures.one_digit_table(codec, image).splitlines()[1:]
    bits = np.array([row.split()[-2:] for row in rows], float)
    assert bits[:, 0].min() > 0.05
    np.testing.assert_allclose(bits[:, 0].cumsum(), bits[:, 1], atol=0.05 * codec.latent_dims)
    assert bits[-1, 1] == pytest.approx(codec.information_content(image[None])[0], abs=0.05 * codec.latent_dims)


def test_figures_work_for_a_codec_of_one_latent(mnist, tmp_path, rng):
    codec = tc.Codec(1)
    figures.latents(tmp_path / "latents.png", {"untrained": codec}, mnist[1][:100], rng)
    figures.basis_walk(tmp_path / "basis.png", codec, mnist[1][:100])


def test_latents_that_cost_most_are_the_informative_ones(codec, mnist):
    order = figures.informative(codec, mnist[1][:500])
    y = codec.analysis(mnist[1][:500])
    spread = y.std(axis=0)[order]
    assert spread[:5].min() > spread[-5:].max()
