"""The guided tour: train a codec, compress real digits into a real file, decode it elsewhere.

    python demo.py                  two to four minutes on two cores
    python demo.py --epochs 15      the reference's setting
"""
import argparse
import gzip
import os
import subprocess
import sys
from itertools import chain, islice
from pathlib import Path

os.environ.pop("MPLBACKEND", None)     # a notebook's, perhaps: where it is not installed, importing matplotlib would fail
import numpy as np

import tinycodec as tc
from tinycodec.__main__ import add_training_options, errors_in_one_line, train_to_file
from tinycodec.experiments import figures
from tinycodec.experiments.metrics import entropy, mean_absolute_error, psnr
from tinycodec.files.safe import write_file
from tinycodec.machine.session import steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_training_options(parser, epochs=5)
    parser.add_argument("--out", type=Path, default=Path("output"), help="folder to write to (default output/)")
    parser.add_argument("--animation", action="store_true", help="draw learning.gif, too, in a second training")
    args = parser.parse_args()
    with errors_in_one_line("demo.py"):
        tour(args)


def tour(args):
    out = args.out
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(args.seed)
    train_images, test_images = tc.load_mnist(args.data)
    examples = test_images[:8]

    print(f"1. Train on {len(train_images):,} images: rate + {args.lmbda:g} * distortion, "
          f"{args.latent_dims} latents, epochs: {args.epochs}.", flush=True)
    model, stream, decoded_file = out / "model.npz", out / "test_images.tnyc", out / "decoded.npy"
    codec, history = train_to_file(model, train_images, args.lmbda, args.epochs, args.latent_dims, args.seed)
    untrained = tc.Codec(args.latent_dims, args.seed)

    print(f"2. Compress {len(test_images):,} test images into {stream}.", flush=True)
    data = codec.compress(test_images)
    write_file(stream, data)

    print("3. Decode that file in another process, with only the file and the model.", flush=True)
    command = [sys.executable, "-m", "tinycodec", "decompress", model, stream, "-o", decoded_file]
    environment = {**os.environ, "PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    child = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    if child.returncode:
        raise ValueError(f"decoding: {child.stderr.strip()}")
    decoded = np.load(decoded_file)
    strings = codec.compress_each(test_images)
    report(test_images, data, decoded, strings, codec, history["rate"][-100:].mean())

    print(f"\n4. One digit, from pixels to bytes:\n\n{figures.one_digit_table(codec, examples[0])}", flush=True)

    print(f"\n5. Draw pictures into {out}.", flush=True)
    for name, shown, title in (("before.png", untrained, "before training"), ("after.png", codec, "after training")):
        s = shown.compress_each(examples)
        figures.digits(out / name, examples, shown.decompress_each(s), s, title)
    figures.one_digit(out / "one_digit.png", codec, examples[0])
    figures.latents(out / "latents.png", {"before training": untrained, "after training": codec}, test_images, rng)
    figures.training_curves(out / "training.png", history, args.epochs)
    figures.grid(out / "samples.png", codec.sample(60, rng), 12, "random bits, decoded")
    figures.basis_walk(out / "basis.png", codec, test_images)
    if args.animation:
        figures.learning(out / "learning.gif", chain(watch(train_images, args), [(len(history["loss"]), codec)]), examples)


def watch(images, args):
    """The training of `tc.train` once more: yields (step, codec) at a few of its first steps."""
    codec = tc.Codec(args.latent_dims, args.seed)
    for history in islice(steps(codec, images, args.lmbda, args.epochs, 128, 4e-3, "mae", args.seed), 1001):
        if len(history) in (0, 10, 30, 100, 300, 1000):
            codec.fix_sigma()
            yield len(history), codec


def report(images, data, decoded, strings, codec, training_rate):
    n, k = len(images), codec.integers(images)
    bits, counted = codec.bits(codec.dequantise(k)).sum() / n, entropy(k)
    print(f"""
   raw pixels                           {images.nbytes:10,} bytes
   gzip                                 {len(gzip.compress(images.tobytes())):10,} bytes
   tinycodec                            {len(data):10,} bytes

   rate at the end of training (noise)  {training_rate:10.3f} bits per image
   predicted (information content)      {bits:10.3f} bits per image
     entropy of the integers, counted   {counted:10.3f}
     what the prior costs on top (KL)   {bits - counted:10.3f}
   in the file, header and all          {8 * len(data) / n:10.3f} bits per image
   one string per image, whole bytes    {8 * np.mean([len(s) for s in strings]):10.3f} bits per image

   mean absolute error                  {mean_absolute_error(images, decoded):10.5f} of full scale
   PSNR                                 {psnr(images, decoded).mean():10.2f} dB""", flush=True)


if __name__ == "__main__":
    main()
