"""The experiments beyond the demo:    python -m tinycodec.experiments

Trains a codec for each lmbda and number of epochs, several at once, then draws tables and pictures. A run that is done
is kept in the output folder, and one that was interrupted goes on after its last epoch: the command can be interrupted
and typed again. Delete the folder to begin afresh.
"""
import argparse
import json
import multiprocessing
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator

import tinycodec as tc
from tinycodec.__main__ import errors_in_one_line, train_to_file
from tinycodec.experiments import figures
from tinycodec.experiments.baselines import KLT, principal_components, through_pillow
from tinycodec.experiments.figures import mosaic, tiles
from tinycodec.experiments.metrics import bd_rate, mean_absolute_error, psnr
from tinycodec.files import stream
from tinycodec.files.safe import write_file
from tinycodec.machine import cores

LMBDAS = 100, 250, 500, 1000, 2000, 4000, 8000
EPOCHS = 1, 2, 5, 15, 30
SWEEPS = 2
REFERENCE, RELATIVE_TIME = (json.loads(Path(__file__).with_name("reference.json").read_text())[key]
                            for key in ("points", "relative_time"))


def runs(epochs):
    """-> [(lmbda, epochs)]"""
    return list(dict.fromkeys([(lmbda, epochs) for lmbda in LMBDAS] + [(2000, e) for e in EPOCHS if e <= 2 * epochs]))


def result_file(out, lmbda, epochs):
    return out / f"lmbda{lmbda}_epochs{epochs}.json"


def run(out, lmbda, epochs):
    """Train one codec and measure it on the test digits; a dict, from its file if there is one."""
    path = result_file(out, lmbda, epochs)
    if path.exists():
        return json.loads(path.read_text())
    train_images, images = tc.load_mnist()
    model = path.with_suffix(".npz")
    if model.exists():
        codec = tc.Codec.load(model)
    else:
        codec, _ = train_to_file(model, train_images, lmbda, epochs, threads=1, progress=False)

    def measure(data):
        y_hat = stream.latents(codec, stream.unpack(data))
        decoded = codec.synthesis(y_hat)
        return {"bits_ideal": codec.bits(y_hat).sum() / len(images), "bits_file": 8 * len(data) / len(images),
                "mae": mean_absolute_error(images, decoded), "psnr": psnr(images, decoded).mean()}, y_hat

    result = {"name": path.stem, "lmbda": lmbda, "epochs": epochs}
    for kind, options in (("round", {}), ("refined", {"lmbda": lmbda, "refine": SWEEPS}),
                          ("dither", {"quantizer": "dither"})):
        result[kind], y_hat = measure(codec.compress(images, **options))
        if kind != "dither":
            strings = codec.range_coder().encode_each(codec.quantise(y_hat), 0)
            result[kind]["bits_each"] = 8 * np.mean([len(s) for s in strings])
    y = codec.analysis(images)
    noisy = y + np.random.default_rng(0).uniform(-0.5, 0.5, y.shape)
    result["training"] = {"bits": codec.bits(noisy).sum() / len(images),
                          "mae": mean_absolute_error(images, codec.synthesis(noisy))}
    result["bits_per_latent"] = np.sort(codec.bits(codec.dequantise(codec.quantise(y))).mean(axis=0))[::-1].tolist()

    write_file(path, json.dumps(result, indent=1).encode())
    return result


def sweep(out, epochs, jobs):
    """All runs, `jobs` at once -> {(lmbda, epochs): result}."""
    todo = [key for key in runs(epochs) if not result_file(out, *key).exists()]
    results = {key: run(out, *key) for key in runs(epochs) if key not in todo}
    print(f"{len(results)} runs are done, {len(todo)} to do, {jobs} at once.", flush=True)
    begun, waiting, running = time.monotonic(), sorted(todo, key=lambda key: key[1]), {}
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        while waiting or running:
            while waiting and len(running) < jobs:         # no more than that: after Ctrl-C, what is queued would begin
                key = waiting.pop()                        # long ones first
                running[pool.submit(run, out, *key)] = key
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                results[running.pop(future)] = result = future.result()
                done = len(todo) - len(waiting) - len(running)
                left = (time.monotonic() - begun) / done * (len(todo) - done) / 60
                print(f"{result['name']}: {result['round']['bits_file']:.1f} bits, MAE {result['round']['mae']:.4f}; "
                      f"{done} of {len(todo)} runs done, about {left:.0f} minutes left", flush=True)
    return results


def baselines(out):
    """Curves of other codecs on the test digits -> {label: [{"bits", "mae", "psnr"}, …]}."""
    path = out / "baselines.json"
    if path.exists():
        return json.loads(path.read_text())
    train_images, images = tc.load_mnist()

    def point(total_bytes, decoded, originals=images):
        return {"bits": 8 * total_bytes / len(originals), "mae": mean_absolute_error(originals, decoded),
                "psnr": psnr(originals, decoded).mean()}

    components = principal_components(train_images)
    curves = {"KLT (linear)": []}
    for step in np.geomspace(7, 0.4, 12):
        codec = KLT(components, step)
        data = codec.compress(images)
        curves["KLT (linear)"].append(point(len(data), codec.decompress(data, len(images))))
    for kind in "JPEG", "WebP":
        whole, single = curves[f"{kind}, mosaic"], curves[f"{kind}, single digits"] = [], []
        for quality in (1, 5, 10, 20, 40, 60, 80):
            size, decoded = through_pillow(mosaic(images, 100), format=kind, quality=quality)
            whole.append(point(size, tiles(decoded)))
            sizes, decoded = zip(*(through_pillow(image, format=kind, quality=quality) for image in images[:1000]))
            single.append(point(sum(sizes), np.stack(decoded), images[:1000]))
    write_file(path, json.dumps(curves, indent=1).encode())
    return curves


def tables(results, epochs, klt):
    """-> Markdown; `klt` is the KLT's curve of `baselines`."""
    points = [results[lmbda, epochs] for lmbda in LMBDAS]
    lines = ["| lmbda | bits, ideal | bits in the file | bits as strings | MAE | PSNR [dB] "
             "| refined: bits in the file | MAE | PSNR [dB] |", "|--:" * 9 + "|"]
    for r in points:
        a, b = r["round"], r["refined"]
        lines.append(f"| {r['lmbda']} | {a['bits_ideal']:.2f} | {a['bits_file']:.2f} | {a['bits_each']:.2f} | {a['mae']:.5f} "
                     f"| {a['psnr']:.2f} | {b['bits_file']:.2f} | {b['mae']:.5f} | {b['psnr']:.2f} |")

    lines += ["", "BD-rate against the reference, lmbda 250 … 4000 (negative: fewer bits at the same quality)", "",
              "| bits compared | at equal MAE | at equal PSNR |", "|---|--:|--:|"]
    for label, kind, bits, reference_bits in (
            ("rounded, ideal", "round", "bits_ideal", "bits_ideal"),
            ("rounded, in the file (reference: ideal)", "round", "bits_file", "bits_ideal"),
            ("rounded, one string per digit", "round", "bits_each", "bits_actual"),
            ("refined, ideal", "refined", "bits_ideal", "bits_ideal"),
            ("refined, in the file (reference: ideal)", "refined", "bits_file", "bits_ideal"),
            ("refined, one string per digit", "refined", "bits_each", "bits_actual")):
        ours = [r[kind] for r in points if 250 <= r["lmbda"] <= 4000]
        rates = [p[reference_bits] for p in REFERENCE], [p[bits] for p in ours]
        cells = [f"{100 * bd_rate((rates[0], q(REFERENCE)), (rates[1], q(ours))):+.1f} %"
                 for q in (mae_quality, lambda points: [p["psnr"] for p in points])]
        lines.append(f"| {label} | {cells[0]} | {cells[1]} |")

    lines += ["", "| lmbda | training-time bits | MAE | dithered file, bits | MAE | rounded file, bits | MAE |", "|--:" * 7 + "|"]
    for r in points:
        lines.append(f"| {r['lmbda']} | {r['training']['bits']:.2f} | {r['training']['mae']:.5f} | {r['dither']['bits_file']:.2f} "
                     f"| {r['dither']['mae']:.5f} | {r['round']['bits_file']:.2f} | {r['round']['mae']:.5f} |")

    lines += ["", "| lmbda | latents above 0.05 bits | bits, ideal | the KLT's bits at the same MAE | times as many |", "|--:" * 5 + "|"]
    klt = sorted(klt, key=lambda p: p["bits"])
    bits_at = PchipInterpolator(mae_quality(klt), np.log([p["bits"] for p in klt]), extrapolate=False)      # nan: beyond its curve
    for r in points:
        bits, used = r["round"]["bits_ideal"], sum(b > 0.05 for b in r["bits_per_latent"])
        linear = np.exp(bits_at(mae_quality([r["round"]])[0]))
        cells = (f"{linear:.0f}", f"{linear / bits:.1f}") if bits > 1 and linear > 0 else ("", "")
        lines.append(f"| {r['lmbda']} | {used} | {bits:.2f} | {cells[0]} | {cells[1]} |")

    lines += ["", "| lmbda 2000 | epochs | training time, in epochs of tinycodec | loss |", "|---|--:|--:|--:|"]
    for name, e, t, loss in against_time(results):
        lines.append(f"| {name} | {e} | {t:.1f} | {loss:.1f} |")
    return "\n".join(lines) + "\n"


def against_time(results):
    """-> [(system, epochs, training time in epochs of tinycodec, loss on the test digits)] at lmbda 2000."""
    reference = next(p for p in REFERENCE if p["lmbda"] == 2000)
    return [("tinycodec", e, e, r["round"]["bits_ideal"] + 2000 * r["round"]["mae"])
            for (lmbda, e), r in sorted(results.items()) if lmbda == 2000] + [
            ("reference", 15, 15 * RELATIVE_TIME["value"], reference["bits_ideal"] + 2000 * reference["mae"])]


def mae_quality(points):
    return [-20 * np.log10(p["mae"]) for p in points]


def pictures(out, results, epochs, curves):
    """Write every figure into `out`."""
    _, images = tc.load_mnist()
    points = [results[lmbda, epochs] for lmbda in LMBDAS]
    codecs = {r["lmbda"]: tc.Codec.load(out / f"{r['name']}.npz") for r in points}
    figures.rate_distortion(out / "rate_distortion.png", points, REFERENCE, curves)
    figures.against_lmbda(out / "against_lmbda.png", points, REFERENCE)
    figures.bits_per_latent(out / "bits_per_latent.png", points)
    figures.loss_against_time(out / "loss_against_time.png", against_time(results))
    figures.where_the_bits_are(out / "where_the_bits_are.png", points)
    shown = {lmbda: codecs[lmbda] for lmbda in (250, 500, 1000, 2000, 8000)}
    figures.at_five_rates(out / "at_five_rates.png", shown, images[[2, 4, 8]])
    figures.interpolation(out / "interpolation.png", codecs[2000], images[[1, 3, 4, 7, 18]], images[[8, 9, 0, 2, 11]])
    figures.samples(out / "samples_by_lmbda.png", shown, np.random.default_rng(0))


def main():
    parser = argparse.ArgumentParser("python -m tinycodec.experiments", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("output/experiments"), help="default output/experiments")
    parser.add_argument("--epochs", type=int, default=15, help="of each run (default 15, the reference's)")
    parser.add_argument("--jobs", type=int, default=cores(), help="runs at once (default: cores)")
    args = parser.parse_args()
    with errors_in_one_line("experiments"):
        args.out.mkdir(parents=True, exist_ok=True)
        results = sweep(args.out, args.epochs, args.jobs)
        curves = baselines(args.out)
        text = tables(results, args.epochs, curves["KLT (linear)"])
        write_file(args.out / "tables.md", text.encode())
        print(f"\n{text}")
        pictures(args.out, results, args.epochs, curves)
