import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image

import tinycodec as tc
from tinycodec.coding import decode
from tinycodec.experiments import figures

CURVE = [{"bits": 10.0, "bits_ideal": 10.0, "bits_file": 11.0, "bits_each": 12.0, "mae": 0.1, "psnr": 12.0 + i, "lmbda": 500 * i}
         for i in (1, 2)]
POINTS = [{"lmbda": p["lmbda"], "bits_per_latent": [3.0, 1.0, 0.0], "training": p,
           "round": p, "refined": p, "dither": p} for p in CURVE]


@pytest.fixture(scope="module")
def draw(codec, mnist):
    """All functions of figures, as functions of a path."""
    images, rng = mnist[1][:100], np.random.default_rng(1)
    strings = codec.compress_each(images[:4])
    history = {"rate": rng.random(50), "distortion": rng.random(50)}
    arguments = {
        "digits": (images[:4], codec.decompress_each(strings), strings, "digits"), "one_digit": (codec, images[0]),
        "latents": ({"before": tc.Codec(20), "after": codec}, images, rng), "training_curves": (history, 2),
        "grid": (codec.sample(12, rng), 6, "samples"), "basis_walk": (codec, images),
        "rate_distortion": (POINTS, CURVE, {label: CURVE for label in "abcde"}), "against_lmbda": (POINTS, CURVE),
        "bits_per_latent": (POINTS,), "where_the_bits_are": (POINTS,),
        "at_five_rates": ({500: codec}, images[:2]), "interpolation": (codec, images[:2], images[2:4]),
        "samples": ({500: codec}, rng)}
    return lambda name, path: getattr(figures, name)(path, *arguments[name])


NAMES = ["digits", "one_digit", "latents", "training_curves", "grid", "basis_walk", "rate_distortion", "against_lmbda",
         "bits_per_latent", "where_the_bits_are", "at_five_rates", "interpolation", "samples"]


@pytest.fixture(scope="module")
def drawn(draw, tmp_path_factory):
    """The path that a figure was once drawn to."""
    folder = tmp_path_factory.mktemp("figures")

    def path(name):
        if not (folder / name).exists():
            assert draw(name, folder / name) is None
        return folder / name

    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_is_a_png(name, drawn):
    assert min(imread(drawn(name), "png").shape[:2]) > 100


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_without_a_path_is_matplotlibs(name, draw):
    assert isinstance(draw(name, None), Figure)


def test_a_figure_in_a_notebook_is_shown_as_the_file_would_be(draw, drawn):
    assert draw("digits", None)._repr_png_() == drawn("digits").read_bytes()


@pytest.mark.parametrize("name", ["digits", "rate_distortion"])
def test_the_users_settings_are_not_for_these_figures(name, draw, drawn, tmp_path):
    plain = drawn(name).read_bytes()
    with matplotlib.rc_context({"savefig.format": "pdf", "text.usetex": True, "font.size": 30, "font.family": "serif",
                                "axes.facecolor": "red", "lines.linewidth": 9, "savefig.dpi": 7, "savefig.bbox": "tight",
                                "image.cmap": "jet", "image.origin": "lower", "figure.autolayout": True}):
        draw(name, tmp_path / "settings.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "settings.png").read_bytes() == plain


@pytest.mark.parametrize("name", ["latents", "one_digit", "basis_walk"])
def test_figures_work_for_an_untrained_codec_of_one_latent(name, mnist, tmp_path, rng):
    codec, images = tc.Codec(1), mnist[1][:100]
    arguments = {"latents": ({"untrained": codec}, images, rng), "one_digit": (codec, images[0]), "basis_walk": (codec, images)}
    getattr(figures, name)(tmp_path / "figure.png", *arguments[name])


def test_learning_is_an_animated_picture_of_at_most_a_megabyte(codec, mnist, tmp_path):
    figures.learning(tmp_path / "learning.gif", [(0, tc.Codec(20)), (10, codec)], mnist[1][:8])
    with Image.open(tmp_path / "learning.gif") as picture:
        assert picture.is_animated and picture.n_frames == 2
    assert (tmp_path / "learning.gif").stat().st_size < 2e5        # for two steps; there are about ten


def test_latents_that_cost_most_are_the_informative_ones(codec, mnist):
    order = figures.informative(codec, mnist[1][:500])
    y = codec.analysis(mnist[1][:500])
    spread = y.std(axis=0)[order]
    assert spread[:5].min() > spread[-5:].max()


# --- one digit ---

def test_the_bytes_of_one_digit_are_those_of_compress_each(codec, mnist):
    for image in mnist[1][:4]:
        string, = codec.compress_each(image[None])
        assert figures.follow(codec, image).string == string
        assert string.hex(" ") in figures.one_digit_table(codec, image)


def test_the_digit_that_comes_back_is_that_of_decompress_each(codec, mnist):
    for image in mnist[1][:4]:
        digit = figures.follow(codec, image)
        np.testing.assert_array_equal(digit.decoded, codec.decompress_each([digit.string])[0])
        assert decode(digit.string, [0] * codec.latent_dims, codec.sigma.tolist(), codec.limit) == digit.k.tolist()


def test_the_interval_narrows_around_the_bytes_as_fast_as_the_bits_say(codec, mnist):
    digit = figures.follow(codec, mnist[1][0])
    number = int.from_bytes(digit.string, "big") / 256**len(digit.string)
    before = 0, 1
    for i in range(codec.latent_dims):
        low, high = (int(end, 2) / 2**len(end) for end in figures.interval(codec, digit.k[:i + 1].tolist()))
        assert before[0] <= low <= number <= high <= before[1]
        assert -np.log2(high - low) == pytest.approx(digit.so_far[i], abs=0.01)
        before = low, high


def test_the_table_adds_up_to_the_information_content(codec, mnist):
    rows = [line.split() for line in figures.one_digit_table(codec, mnist[1][0]).splitlines()]
    latent, *_, bits, so_far = np.array([row for row in rows if len(row) == 7 and row[0].isdigit()], float).T
    assert bits.min() >= 0.05 and len(latent) < codec.latent_dims         # more than 0.05, of which two digits are shown
    all_bits = codec.bits(codec.dequantise(codec.integers(mnist[1][:1])))[0]
    np.testing.assert_allclose(bits, all_bits[latent.astype(int)], atol=0.006)
    np.testing.assert_allclose(so_far, all_bits.cumsum()[latent.astype(int)], atol=0.006)
    assert so_far[-1] == pytest.approx(codec.information_content(mnist[1][:1])[0], abs=0.05 * (codec.latent_dims - len(latent)))
