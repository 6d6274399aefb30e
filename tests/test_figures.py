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


def test_figures_work_for_a_codec_of_one_latent(mnist, tmp_path, rng):
    codec = tc.Codec(1)
    figures.latents(tmp_path / "latents.png", {"untrained": codec}, mnist[1][:100], rng)
    figures.basis_walk(tmp_path / "basis.png", codec, mnist[1][:100])


def test_latents_that_cost_most_are_the_informative_ones(codec, mnist):
    order = figures.informative(codec, mnist[1][:500])
    y = codec.analysis(mnist[1][:500])
    spread = y.std(axis=0)[order]
    assert spread[:5].min() > spread[-5:].max()
