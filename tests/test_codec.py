import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinycodec as tc
from tests import Deeper
from tinycodec.codec import PlainCodec
from tinycodec.files.checkpoint import fingerprint
from tinycodec.files import stream as container
from tinycodec.files.stream import dither
from tinycodec.experiments.metrics import psnr


@pytest.fixture(scope="module")
def digits(mnist):
    return mnist[1][:1000]


@pytest.fixture(scope="module")
def stream(codec, digits):
    return codec.compress(digits)


@pytest.fixture(scope="module")
def bits(codec, mnist):
    return codec.information_content(mnist[1][:7000])


def through_rounding(codec, images):
    return codec.synthesis(codec.dequantise(codec.quantise(codec.analysis(images))))


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_decoded_images_are_the_synthesis_of_rounded_latents(n, codec, digits):
    decoded = codec.decompress(codec.compress(digits[:n]))
    assert decoded.dtype == np.uint8 and decoded.shape == (n, 28, 28)
    np.testing.assert_array_equal(decoded, through_rounding(codec, digits[:n]))


@pytest.mark.parametrize("n", [0, 1, 7, 300])
def test_strings_decode_to_the_same_images_as_the_stream(n, codec, digits):
    strings = codec.compress_each(digits[:n])
    assert len(strings) == n
    np.testing.assert_array_equal(codec.decompress_each(strings), through_rounding(codec, digits[:n]))


def test_strings_are_those_of_the_coder_by_the_book(codec, digits):
    strings = codec.compress_each(digits[:20])
    assert PlainCodec.compress_each(codec, digits[:20]) == strings
    np.testing.assert_array_equal(PlainCodec.decompress_each(codec, strings), codec.decompress_each(strings))


def test_the_plain_codec_is_the_codec_but_for_rounding(codec, digits):
    plain, y = PlainCodec(codec.latent_dims), codec.analysis(digits)
    for name, p in plain.params.items():
        p[...] = codec.params[name]
    plain.fix_sigma()
    np.testing.assert_allclose(plain.analysis(digits), y, rtol=1e-4, atol=1e-4)
    k = codec.quantise(y)
    np.testing.assert_array_equal(plain.quantise(y), k)
    y_hat = codec.dequantise(k)
    np.testing.assert_array_equal(plain.dequantise(k), y_hat)
    assert np.abs(plain.synthesis(y_hat).astype(int) - codec.synthesis(y_hat)).max() <= 1


def test_an_image_decodes_the_same_whatever_comes_with_it(codec, digits):
    together = codec.decompress(codec.compress(digits[:300]))
    for i in (0, 63, 64, 299):
        np.testing.assert_array_equal(codec.decompress(codec.compress(digits[i:i + 1]))[0], together[i])


def test_file_is_at_most_half_a_percent_over_the_information_content(codec, mnist, bits):
    assert 1 < 8 * len(codec.compress(mnist[1][:len(bits)])) / bits.sum() < 1.005


def test_strings_cost_at_most_three_bits_more_than_the_information_content(codec, digits, bits):
    mean = bits[:len(digits)].mean()
    assert mean < 8 * np.mean([len(s) for s in codec.compress_each(digits)]) < mean + 3


def test_training_improves_the_decoded_images(codec, digits, stream):
    untrained = tc.Codec(codec.latent_dims)
    assert psnr(digits, codec.decompress(stream)).mean() > psnr(digits, through_rounding(untrained, digits)).mean() + 3


def test_another_process_decodes_the_same_images(codec, digits, stream, tmp_path):
    codec.save(tmp_path / "model.npz")
    (tmp_path / "stream").write_bytes(stream)
    script = ("import sys, numpy, tinycodec; d = sys.argv[1]; c = tinycodec.Codec.load(d + '/model.npz');"
              "numpy.save(d + '/decoded.npy', c.decompress(open(d + '/stream', 'rb').read()))")
    subprocess.run([sys.executable, "-W", "ignore", "-c", script, tmp_path], check=True)
    np.testing.assert_array_equal(np.load(tmp_path / "decoded.npy"), codec.decompress(stream))


def test_quantisation_moves_a_latent_by_at_most_half(codec, digits):
    y = codec.analysis(digits)
    assert np.abs(codec.dequantise(codec.quantise(y)) - y).max() < 0.5 + 1e-5


def test_latents_beyond_the_coders_range_are_clipped_not_lost(codec):
    k = codec.quantise(np.full((1, codec.latent_dims), 1e9, np.float32))
    assert (k == codec.limit).all()


@pytest.mark.parametrize("n", [0, 1, 50])
def test_samples_are_different_images(n, codec, rng):
    samples = codec.sample(n, rng)
    assert samples.shape == (n, 28, 28) and samples.dtype == np.uint8
    assert len(np.unique(samples, axis=0)) == n


@pytest.mark.parametrize("arguments", [(-1, np.random.default_rng(0)), (2.5, np.random.default_rng(0)), (3, None), (3, 0)])
def test_what_is_no_number_or_no_generator_draws_no_samples(arguments, codec):
    with pytest.raises(ValueError, match="expected a number of images and a numpy.random.Generator, got"):
        codec.sample(*arguments)


def test_the_same_generator_draws_the_same_samples(codec):
    a, b = (codec.sample(5, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)


# --- universal quantisation ---

def test_dithered_decoder_sees_exactly_what_the_encoder_meant(codec, digits):
    u = dither("dither", 5, (len(digits), codec.latent_dims))
    y_hat = codec.dequantise(codec.quantise(codec.analysis(digits), u), u)
    decoded = codec.decompress(codec.compress(digits, quantizer="dither", seed=5))
    np.testing.assert_array_equal(decoded, codec.synthesis(y_hat))


def test_dithered_quantisation_adds_uniform_noise(codec, digits):
    y, u = codec.analysis(digits), dither("dither", 0, (len(digits), codec.latent_dims))
    noise = codec.dequantise(codec.quantise(y, u), u) - y
    assert np.abs(noise).max() < 0.5 + 1e-5
    assert noise.mean() == pytest.approx(0, abs=0.01) and noise.var() == pytest.approx(1 / 12, rel=0.02)
    assert abs(np.corrcoef(noise.ravel(), y.ravel())[0, 1]) < 0.02


def test_bits_of_a_dithered_file_are_the_training_time_rate(codec, mnist, rng):
    images = mnist[1][:3000]
    y = codec.analysis(images)
    rate = codec.prior.forward(y.T + rng.uniform(-0.5, 0.5, y.T.shape))[0].sum() / len(y)
    assert 8 * len(codec.compress(images, quantizer="dither")) / len(y) == pytest.approx(rate, rel=0.01)


def test_dither_is_the_same_for_ever(codec):
    assert (dither("dither", 0, (1, codec.latent_dims))[0, :3] * 2**24).tolist() == [2297835, -3862339, -7701187]


@pytest.mark.parametrize("options, message", [
    ({"quantizer": "floor"}, "'round' or 'dither', got 'floor'"), ({"quantizer": "dither", "seed": -1}, "seed"),
    ({"seed": 0.5}, "a seed, an integer"),
    ({"refine": 1}, "positive, finite lmbda, got None"), ({"lmbda": 2000}, "positive integer, got 0"),
    ({"lmbda": 2000, "refine": -1}, "positive integer, got -1")])
def test_wrong_options_of_compress_are_an_error(options, message, codec, digits):
    with pytest.raises(ValueError, match=message):
        codec.compress(digits[:2], **options)


def test_information_content_is_one_number_an_image_in_bits(codec, digits):
    bits = codec.information_content(digits[:7])
    assert bits.shape == (7,) and bits.dtype == np.float64 and (bits > 0).all()


# --- files ---

def test_saving_and_loading_gives_the_same_codec(codec, digits, stream, tmp_path):
    codec.save(tmp_path / "model")
    loaded = tc.Codec.load(tmp_path / "model")
    assert loaded.compress(digits) == stream


def test_a_subclass_loads_what_it_saved(digits, tmp_path):
    codec = Deeper()
    codec.params["g_a.8.b"][:] = 1
    codec.save(tmp_path / "model")
    assert Deeper.load(tmp_path / "model").compress(digits) == codec.compress(digits)


def test_parameters_of_layers_that_a_codec_does_not_have_are_not_dropped_silently(tmp_path):
    Deeper().save(tmp_path / "model")
    with pytest.raises(ValueError, match=r"not a model that tinycodec saved from a Codec \(it has g_a.8.[wb], of another layer\)"):
        tc.Codec.load(tmp_path / "model")


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "model.npz", **{"prior.mu": np.array([{}], dtype=object)})
    with pytest.raises(ValueError, match="not a model that tinycodec saved"):
        tc.Codec.load(tmp_path / "model.npz")


NPY = io.BytesIO()
np.save(NPY, np.zeros(3))


@pytest.mark.parametrize("data", [b"", b"PK\3\4 not really", b"\x93NUMPY", b"text", NPY.getvalue()])
def test_other_files_are_no_models(data, tmp_path):
    (tmp_path / "model.npz").write_bytes(data)
    with pytest.raises(ValueError, match="model.npz: not a model"):
        tc.Codec.load(tmp_path / "model.npz")


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="model.npz"):
        tc.Codec.load(tmp_path / "model.npz")


@pytest.mark.parametrize("change", [lambda p: p[..., :-1], lambda p: p.astype(np.float64), lambda p: p * np.nan])
def test_a_model_with_a_wrong_array_names_it(change, codec, tmp_path):
    codec.save(tmp_path / "model.npz")
    np.savez(tmp_path / "model.npz", **(dict(np.load(tmp_path / "model.npz")) | {"g_s.0.w": change(codec.params["g_s.0.w"])}))
    with pytest.raises(ValueError, match=r"expected g_s.0.w to be (float32 \(500, 20\)|finite)"):
        tc.Codec.load(tmp_path / "model.npz")


def test_a_model_that_cannot_code_is_refused(codec, tmp_path):
    codec.save(tmp_path / "model.npz")
    arrays = dict(np.load(tmp_path / "model.npz"))
    arrays["prior.log_sigma"][3], arrays["prior.sigma"][3] = -1000, 0
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(ValueError, match="expected prior.sigma to be positive"):
        tc.Codec.load(tmp_path / "model.npz")


def test_a_model_with_a_missing_array_names_it(codec, tmp_path):
    codec.save(tmp_path / "model.npz")
    arrays = dict(np.load(tmp_path / "model.npz"))
    del arrays["g_a.5.b"]
    np.savez(tmp_path / "model.npz", **arrays)
    with pytest.raises(ValueError, match="no item named 'g_a.5.b"):
        tc.Codec.load(tmp_path / "model.npz")


# --- errors ---

@pytest.mark.parametrize("name", ["prior.log_sigma", "g_s.7.w"])
def test_a_stream_of_another_model_is_refused(name, codec, stream):
    other = tc.Codec(codec.latent_dims)
    for key, p in codec.params.items():
        other.params[key][...] = p
    other.params[name].flat[0] += 1e-3
    other.fix_sigma()
    with pytest.raises(ValueError, match="written with model"):
        other.decompress(stream)


def test_truncated_and_altered_streams_are_refused(codec, stream):
    for data in (stream[:-1], stream[:500], stream[:300] + b"!" + stream[301:], stream + b"\0"):
        with pytest.raises(ValueError, match="truncated or altered"):
            codec.decompress(data)


def test_a_string_with_bytes_added_is_refused(codec, digits):
    string, = codec.compress_each(digits[:1])
    with pytest.raises(ValueError, match="string 1 was not written by compress_each"):
        codec.decompress_each([string, string + b"\0"])


@pytest.mark.parametrize("images, got", [
    (np.zeros((28, 28), np.uint8), r"uint8 \(28, 28\)"), (np.zeros((2, 28, 28)), r"float64 \(2, 28, 28\)"),
    (np.zeros((2, 32, 32), np.uint8), r"uint8 \(2, 32, 32\)"), ([], r"float64 \(0,\)")])
@pytest.mark.parametrize("method", ["compress", "compress_each", "analysis", "information_content"])
def test_wrong_images_are_an_error_that_says_what_came(method, images, got, codec):
    with pytest.raises(ValueError, match=rf"expected images as uint8 \(n, 28, 28\), got {got}"):
        getattr(codec, method)(images)


@pytest.mark.parametrize("method", ["synthesis", "quantise", "dequantise", "bits"])
@pytest.mark.parametrize("latents, got", [(np.zeros((3, 21)), r"float64 \(3, 21\)"), (np.zeros(20), r"float64 \(20,\)"),
                                          ([[np.nan] * 20], r"float64 \(1, 20\)")])
def test_wrong_latents_are_an_error(method, latents, got, codec):
    with pytest.raises(ValueError, match=rf"expected finite latents of shape \(n, 20\), got {got}"):
        getattr(codec, method)(latents)


@pytest.mark.parametrize("latent_dims", [0, -1, 2.5, "50", 10**9])
def test_wrong_latent_dims_are_an_error(latent_dims):
    with pytest.raises(ValueError, match="expected latent_dims"):
        tc.Codec(latent_dims=latent_dims)


@pytest.mark.parametrize("seed", [-1, 1.5, "a"])
def test_a_seed_that_numpy_does_not_take_is_an_error_in_our_words(seed):
    with pytest.raises(ValueError, match=f"expected a seed, an integer from 0, got {seed!r}"):
        tc.Codec(2, seed)


# --- for ever: `golden/` holds a model and what it once wrote and read ---

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(scope="module")
def golden():
    return tc.Codec.load(GOLDEN / "model.npz"), np.load(GOLDEN / "expected.npz")


@pytest.mark.parametrize("quantizer", ["round", "dither"])
def test_golden_streams_decode_to_the_same_integers_for_ever(quantizer, golden):
    codec, expected = golden
    stream = container.unpack((GOLDEN / f"{quantizer}.tnyc").read_bytes(), fingerprint(codec))
    assert (stream.quantizer, stream.n) == (quantizer, 40)
    u = dither(quantizer, stream.seed, (stream.n, codec.latent_dims))
    [(_, chunk)] = stream.chunks
    integers = codec.range_coder().decode(chunk, stream.n, -u)
    np.testing.assert_array_equal(integers, expected[f"integers_{quantizer}"])


def test_golden_integers_are_coded_as_the_same_strings_for_ever(golden):
    codec, expected = golden
    strings = [string.hex() for string in codec.range_coder().encode_each(expected["integers_round"].astype(int), 0)]
    assert strings == expected["strings"].tolist()


@pytest.mark.parametrize("quantizer", ["round", "dither"])
def test_golden_images_differ_by_one_grey_level_at_the_most(quantizer, golden):
    codec, expected = golden
    images = codec.decompress((GOLDEN / f"{quantizer}.tnyc").read_bytes())
    assert np.abs(images.astype(int) - expected[f"images_{quantizer}"]).max() <= 1


def test_sigma_is_the_stored_one_until_it_is_fixed_anew(codec, tmp_path):
    codec.save(tmp_path / "model.npz")
    arrays = dict(np.load(tmp_path / "model.npz"))
    arrays["prior.sigma"] = np.nextafter(arrays["prior.sigma"], np.inf)            # as another machine's exp might give
    np.savez(tmp_path / "model.npz", **arrays)
    other = tc.Codec.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(other.sigma, arrays["prior.sigma"])
    assert fingerprint(other) != fingerprint(codec)
    other.params["prior.log_sigma"] += 1
    other.fix_sigma()
    np.testing.assert_allclose(other.sigma, np.e * arrays["prior.sigma"], rtol=1e-6)


# --- damage ---

def test_one_flipped_byte_loses_one_thousand_digits_at_the_most(codec, mnist):
    data = codec.compress(mnist[1][:2001])
    expected = codec.decompress(data)
    damaged = bytearray(data)
    damaged[len(data) // 2] ^= 0xff
    images, lost = codec.salvage(bytes(damaged))
    assert len(lost) == 1000
    kept = np.delete(np.arange(len(images)), lost)
    np.testing.assert_array_equal(images[kept], expected[kept])
    with pytest.raises(ValueError, match=rf"1 of 3 chunks damaged: {lost[0] // 1000} \(images {lost[0]} to {lost[-1]}\)"):
        codec.decompress(bytes(damaged))


def test_salvaging_an_intact_stream_loses_nothing(codec, digits, stream):
    images, lost = codec.salvage(stream)
    assert lost == []
    np.testing.assert_array_equal(images, codec.decompress(stream))
