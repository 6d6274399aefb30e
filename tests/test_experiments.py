import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tinycodec as tc
from tests import batches_of, stopped_after
from tinycodec.experiments import sweep as experiments
from tinycodec.experiments.baselines import KLT, principal_components, through_pillow
from tinycodec.experiments.figures import Picture, mosaic, tiles
from tinycodec.experiments.metrics import mean_absolute_error, psnr
from tinycodec.files.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def components(mnist):
    return principal_components(mnist[0][:2000])


@pytest.mark.parametrize("n", [0, 1, 300])
def test_klt_codec_round_trips_through_bytes(n, components, mnist):
    codec, images = KLT(components, 2.0), mnist[1][:n]
    decoded = codec.decompress(codec.compress(images), n)
    assert decoded.shape == (n, 28, 28) and decoded.dtype == np.uint8
    k = np.rint((images.reshape(n, 784) / 255 - codec.mean) @ codec.basis / codec.step)
    expected = 255 * (codec.mean + codec.step * k @ codec.basis.T)
    np.testing.assert_array_equal(decoded, np.rint(expected).clip(0, 255).reshape(n, 28, 28))


def test_smaller_steps_of_the_klt_cost_more_and_give_more(components, mnist):
    images = mnist[1][:300]
    streams = {step: KLT(components, step).compress(images) for step in (4, 2, 1)}
    assert sorted(streams, key=lambda step: len(streams[step])) == [4, 2, 1]
    quality = [psnr(images, KLT(components, step).decompress(data, 300)).mean() for step, data in streams.items()]
    assert quality == sorted(quality)


def test_principal_components_are_orthonormal(components):
    _, basis, _ = components
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-4)


def test_tiles_undo_a_mosaic(mnist):
    np.testing.assert_array_equal(tiles(mosaic(mnist[1][:60], 10)), mnist[1][:60])


@pytest.mark.parametrize("kind", ["JPEG", "WebP"])
def test_formats_of_pillow_keep_the_shape_and_trade_bytes_for_quality(kind, mnist):
    image = mosaic(mnist[1][:100], 10)
    (small, bad), (large, good) = (through_pillow(image, format=kind, quality=q) for q in (5, 80))
    assert bad.shape == good.shape == image.shape and small < large
    assert mean_absolute_error(image, good) < mean_absolute_error(image, bad)


@pytest.fixture(scope="module", autouse=True)
def small_runs(mnist):
    """Runs are of little data."""
    data = mnist[0][:100], mnist[1][:20]
    with pytest.MonkeyPatch.context() as patch, batches_of(20):
        patch.setattr(tc, "load_mnist", lambda: data)
        patch.setattr(experiments, "SWEEPS", 1)
        yield


@pytest.fixture(scope="module")
def done(small_runs, tmp_path_factory):
    """(folder, result) of a run."""
    folder = tmp_path_factory.mktemp("experiments")
    return folder, experiments.run(folder, 500, 1)


def test_a_run_that_is_done_is_not_repeated(done, monkeypatch):
    folder, result = done
    monkeypatch.setattr(tc, "train", None)
    monkeypatch.setattr(tc.Codec, "compress", None)
    assert experiments.run(folder, 500, 1) == json.loads(json.dumps(result))


def test_an_interrupted_run_leaves_nothing_that_looks_done(tmp_path, monkeypatch):
    def interrupted(*args, **options):
        raise KeyboardInterrupt
    monkeypatch.setattr(tc.Codec, "compress", interrupted)
    with pytest.raises(KeyboardInterrupt):
        experiments.run(tmp_path, 500, 1)
    assert not list(tmp_path.glob("*.json"))


def test_after_an_interruption_no_other_run_begins(tmp_path, monkeypatch):
    begun = []

    def run(*key):
        begun.append(key)
        if len(begun) == 3:
            raise KeyboardInterrupt
        return {"name": "a run", "round": {"bits_file": 1.0, "mae": 0.1}}

    monkeypatch.setattr(experiments, "ProcessPoolExecutor", lambda jobs, context: ThreadPoolExecutor(jobs))
    monkeypatch.setattr(experiments, "run", run)
    with pytest.raises(KeyboardInterrupt):
        experiments.sweep(tmp_path, 15, jobs=1)
    assert len(begun) == 3


def test_an_interrupted_run_goes_on_after_its_last_epoch(tmp_path, monkeypatch):
    def restore(self, steps):
        begun.append(len(history := resume(self, steps)))
        return history

    resume, begun = Checkpoint.restore, []
    with pytest.raises(KeyboardInterrupt), stopped_after(1):           # an epoch of 100 images is one step
        experiments.run(tmp_path, 500, 2)
    monkeypatch.setattr(Checkpoint, "restore", restore)
    experiments.run(tmp_path, 500, 2)
    assert begun == [1] and not list(tmp_path.glob("*.checkpoint"))


def test_a_model_that_is_trained_is_only_measured(done, tmp_path, monkeypatch):
    folder, result = done
    model, = folder.glob("*.npz")
    (tmp_path / model.name).write_bytes(model.read_bytes())
    monkeypatch.setattr(tc, "train", None)
    assert experiments.run(tmp_path, 500, 1) == result


def test_tables_and_pictures_are_made_of_the_results(done, monkeypatch):
    monkeypatch.setattr(Picture, "_repr_png_", lambda picture: b"\x89PNG")       # test_figures.py draws them
    folder, run = done
    # Any results will do here: one run posing as all, its rate and quality moved along a curve.
    results = {}
    for i, (lmbda, epochs) in enumerate(experiments.runs(1)):
        moved = {kind: {"bits_ideal": 5.0 + 10 * i, "bits_file": 5.0 + 10 * i, "bits_each": 8.0 + 10 * i,
                        "mae": 0.08 / (i + 1), "psnr": 14.0 + i} for kind in ("round", "refined", "dither")}
        results[lmbda, epochs] = run | moved | {"lmbda": lmbda}
    curve = [{"bits": 10.0, "mae": 0.1, "psnr": 12.0}, {"bits": 100.0, "mae": 0.05, "psnr": 17.0}]
    text = experiments.tables(results, 1, curve)
    assert text.count("\n| 2000 |") == 3 and "BD-rate" in text and "nan" not in text
    experiments.pictures(folder, results, 1, {label: curve for label in "abcde"})
    assert len(list(folder.glob("*.png"))) == 8
