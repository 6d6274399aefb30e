"""How fast is it, and where does the time go?    python -m tests.benchmark --help

Bare times say more about the machine and its neighbours than about the code, so the measure is
utilisation: the multiply-adds that the mathematics needs, per second, as a share of what the
machine's own matrix product reaches in the same run.
"""
import argparse
import subprocess
import sys
import time

import numpy as np

import tinycodec as tc
from tinycodec.layers import Conv2D, ConvTranspose2D, Dense
from tinycodec.machine import default_threads, workers
from tinycodec.machine.session import Adam, in_shards
from tinycodec.model import as_pixels

PEAK_MEMORY = """
import resource, sys, tinycodec as tc
images, _ = tc.load_mnist()
tc.train(tc.Codec(), images[:50 * {batch}], 2000, epochs=1, batch={batch}, threads={threads}, progress=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / 2**(20 if sys.platform == "darwin" else 10))
"""


def seconds(function):
    begun = time.perf_counter()
    function()
    return time.perf_counter() - begun


def multiply_adds(layer, x, y):
    """Multiply-adds of one forward pass: each weight once a pixel of the convolution's output."""
    if isinstance(layer, Dense):
        return layer.params["w"].size
    if isinstance(layer, Conv2D):
        return layer.params["w"].size * y.shape[0] * y.shape[2]
    if isinstance(layer, ConvTranspose2D):
        return layer.params["w"].size * x.shape[0] * x.shape[2]
    return 0


def time_layers(layers, x):
    """-> [(forward seconds, backward seconds, multiply-adds forward and backward)] a layer."""
    forward, caches, counts = [], [], []
    for layer in layers:
        begun = time.perf_counter()
        y, cache = layer.forward(x)
        forward.append(time.perf_counter() - begun)
        caches.append(cache)
        # The gradients of weights and input cost as much each; nobody needs the images' gradient.
        counts.append(multiply_adds(layer, x, y) * (3 if caches[1:] else 2))
        x = y
    backward = []
    for layer, cache in zip(reversed(layers), reversed(caches)):
        begun = time.perf_counter()
        x, _ = layer.backward(x, cache)
        backward.append(time.perf_counter() - begun)
    return list(zip(forward, reversed(backward), counts))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="images a training step (default 128)")
    parser.add_argument("--threads", type=int, default=default_threads(), help="shards of a batch (default: cores)")
    parser.add_argument("--repeats", type=int, default=7, help="rounds, of which medians are taken (default 7)")
    args = parser.parse_args()
    with workers(args.threads) as on_threads:
        benchmark(args, on_threads)


def benchmark(args, on_threads):
    script = PEAK_MEMORY.format(batch=args.batch, threads=args.threads)       # first: a process inherits its parent's peak
    memory = float(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
    rng = np.random.default_rng(0)
    images, test_images = tc.load_mnist()
    codec = tc.Codec()
    tc.train(codec, images[:2000], 2000, epochs=1, progress=False)
    adam = Adam(codec.params)
    matrix = rng.random((2048, 2048), np.float32)
    noise = rng.random((50, args.batch), np.float32) - np.float32(0.5)
    parts = np.array_split(np.arange(args.batch), args.threads)
    layers = codec.g_a.layers + codec.g_s.layers

    def gradients():
        return in_shards(codec, images[:args.batch], noise, 2000, "mae", 1.0, on_threads)[1]

    rows = {name: [] for name in ("peak", "train", "gradients", "adam", "encode", "decode", "each", "layers")}
    for _ in range(args.repeats):
        t = seconds(lambda: on_threads(lambda _: matrix @ matrix, parts))
        rows["peak"].append(2 * len(matrix) ** 3 * len(parts) / t)
        n = 20 * args.batch
        t = seconds(lambda: tc.train(codec, images[:n], 2000, epochs=1, batch=args.batch, threads=args.threads,
                                     progress=False))
        rows["train"].append(n / t)
        grads = gradients()
        rows["gradients"].append(np.median([seconds(gradients) for _ in range(10)]))
        rows["adam"].append(np.median([seconds(lambda: adam.update(grads, 1e-9, on_threads)) for _ in range(10)]))
        timed = [on_threads(lambda part: time_layers(layers, as_pixels(images[part])), parts)[0] for _ in range(10)]
        rows["layers"].append(np.median(timed, axis=0))
        data = codec.compress(test_images)
        rows["encode"].append(len(test_images) / seconds(lambda: codec.compress(test_images)))
        rows["decode"].append(len(test_images) / seconds(lambda: codec.decompress(data)))
        rows["each"].append(len(test_images) / seconds(lambda: codec.compress_each(test_images)))

    timed = np.median(rows.pop("layers"), axis=0)
    flop = 2 * timed[:, 2].sum()
    utilisation = np.array(rows["train"]) * flop / rows["peak"]
    median = {name: np.median(values) for name, values in rows.items()}
    spread = {name: np.ptp(np.quantile(values, [0.25, 0.75])) / median[name] for name, values in rows.items()}

    print(f"batch {args.batch}, {args.threads} threads, medians of {args.repeats} rounds; "
          "± is half the interquartile range\n")
    print(f"matrix product, all threads {median['peak'] / 1e9:8.0f} GFLOP/s  ±{spread['peak'] / 2:.0%}")
    print(f"training                    {median['train']:8.0f} images/s ±{spread['train'] / 2:.0%}, "
          f"each {flop / 1e6:.2f} MFLOP")
    print(f"utilisation                 {np.median(utilisation):8.2f}          "
          f"(rounds: {', '.join(f'{u:.2f}' for u in utilisation)})")
    print(f"compress                    {median['encode']:8.0f} images/s ±{spread['encode'] / 2:.0%}")
    print(f"decompress                  {median['decode']:8.0f} images/s ±{spread['decode'] / 2:.0%}")
    print(f"compress_each               {median['each']:8.0f} images/s ±{spread['each'] / 2:.0%}")
    print(f"peak memory of training     {memory:8.0f} MiB, in a process of its own\n")

    print("one training step, ms        forward  backward  share of a core's peak")
    core, above = median["peak"] / len(parts), False
    for layer, (forward, backward, count) in zip(layers, timed):
        share = 2 * count * len(parts[0]) / (forward + backward) / core
        above |= share > 1
        print(f"  {type(layer).__name__:<24} {1e3 * forward:9.2f} {1e3 * backward:9.2f}" + (f"{share:9.2f}" if count else ""))
    whole = 1e3 * args.batch / median["train"]
    print(f"  {'all layers':<24} {1e3 * timed[:, 0].sum():9.2f} {1e3 * timed[:, 1].sum():9.2f}")
    print(f"  {'gradients of the loss':<24} {1e3 * median['gradients']:9.2f}")
    print(f"  {'Adam':<24} {1e3 * median['adam']:9.2f}           {1e3 * median['adam'] / whole:.0%} of the step")
    print(f"  {'whole step':<24} {whole:9.2f}")
    if above:
        print("A share above 1: the matrix product was timed at a worse moment, or at a lower clock, than this layer.")
    print(f"\nIn words: of the time of a training step, {np.median(utilisation):.0%} would suffice if this machine did nothing "
          f"but the matrix products, as fast as it can.")


if __name__ == "__main__":
    main()
