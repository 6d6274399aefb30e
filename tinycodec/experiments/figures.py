"""Every picture, one function each: data in, a PNG file out."""
import io
import textwrap

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..files.safe import write_file
from .metrics import psnr

STYLE = matplotlib.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
                               "savefig.dpi": 120, "savefig.bbox": "tight"})


@STYLE
def digits(path, images, decoded, strings, title):
    """Originals over what is decoded from their strings; each with its bytes in hex, bits and PSNR."""
    figure = Figure(figsize=(1.4 * len(images), 4), layout="constrained")
    axes = figure.subplots(2, len(images), squeeze=False)
    quality = psnr(images, decoded)
    for i, (top, bottom) in enumerate(axes.T):
        _show(top, images[i])
        _show(bottom, decoded[i])
        hex_lines = "\n".join(textwrap.wrap(strings[i].hex(), 10))
        bottom.set_xlabel(f"{quality[i]:.1f} dB\n{8 * len(strings[i])} bits\n{hex_lines}", family="monospace")
    axes[0, 0].set_ylabel("original")
    axes[1, 0].set_ylabel("decoded")
    figure.suptitle(title)
    _save(figure, path)


@STYLE
def latents(path, codecs, images, rng, count=5):
    """Histograms of noisy latents ỹ under the density the prior has for them, a row per codec.

    `codecs` maps a row's label to a codec; shown are the latents most informative for the last.
    """
    shown = informative(list(codecs.values())[-1], images)[:count]
    figure = Figure(figsize=(2.4 * len(shown), 2.5 * len(codecs)), layout="constrained")
    for row, (label, codec) in zip(figure.subplots(len(codecs), len(shown), squeeze=False), codecs.items()):
        y = codec.analysis(images).T
        y = y + rng.uniform(-0.5, 0.5, y.shape)
        for axis, i in zip(row, shown):
            axis.hist(y[i], bins=60, density=True, color="tab:blue", alpha=0.5)
            t = np.linspace(*axis.get_xlim(), 300)
            bits, _ = codec.prior.forward(np.tile(t, (codec.latent_dims, 1)))
            axis.plot(t, 2.0**-bits[i], color="tab:red")
            axis.set_yticks([])
            axis.set_xlabel(f"latent {i}")
        row[0].set_ylabel(label)
    figure.suptitle("latents + uniform noise (blue), and the prior's density of Gaussian + uniform noise (red)")
    _save(figure, path)


@STYLE
def training_curves(path, history, epochs):
    """Rate and distortion of every training batch, a dot each, and their running mean."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    labels = {"rate": "rate [bits per digit]", "distortion": "distortion [mean |x − x̂|]"}
    for axis, (name, label) in zip(figure.subplots(1, 2), labels.items()):
        values = history[name]
        epoch = epochs * np.arange(1, len(values) + 1) / len(values)
        window = max(1, len(values) // 100)
        axis.plot(epoch, values, ".", markersize=1, color="tab:blue", alpha=0.3)
        mean = np.convolve(values, np.ones(window) / window, mode="valid")
        axis.plot(epoch[window - 1:], mean, color="tab:red")
        axis.set_ylim(0, 1.05 * values[len(values) // 50:].max())
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
    _save(figure, path)


@STYLE
def grid(path, images, columns, title):
    """Images side by side, `columns` in a row."""
    rows = len(images) // columns
    figure = Figure(figsize=(0.6 * columns, 0.6 * rows + 0.5), layout="constrained")
    axis = figure.subplots()
    _show(axis, mosaic(images[:rows * columns], columns))
    axis.set_title(title)
    _save(figure, path)


@STYLE
def basis_walk(path, codec, images, count=10, steps=7):
    """One latent at a time from −3 to +3 standard deviations, the others at the prior's mean.

    These are canonical-basis vectors of the latent space; the most informative come first.
    """
    mu, sigma = codec.prior.params["mu"], np.exp(codec.prior.params["log_sigma"])
    shown = informative(codec, images)[:count]
    walk = np.linspace(-3, 3, steps, dtype=np.float32)
    y_hat = np.tile(mu, (len(shown), steps, 1))
    for row, i in zip(y_hat, shown):
        row[:, i] += sigma[i] * walk
    decoded = codec.synthesis(y_hat.reshape(-1, codec.latent_dims))
    figure = Figure(figsize=(0.7 * steps, 0.7 * len(shown) + 0.8), layout="constrained")
    axis = figure.subplots()
    _show(axis, mosaic(decoded, steps))
    axis.set_xticks(14 + 28 * np.arange(steps), [f"{w:+g}" if w else "0" for w in walk])
    axis.set_yticks(14 + 28 * np.arange(len(shown)), [f"latent {i}" for i in shown])
    axis.set_xlabel("value of one latent, in standard deviations of its prior")
    axis.set_title("one latent moves, the others stay at the prior's mean")
    _save(figure, path)


# --- of the experiments: `points` are results of tinycodec.experiments.sweep.run, by increasing lmbda ---

@STYLE
def rate_distortion(path, points, reference, curves):
    """Mean absolute error and PSNR against bits per digit, of this codec and all others."""
    figure = Figure(figsize=(8, 10), layout="constrained")
    ours = {"tinycodec, refined": ("refined", "tab:red", "o-"), "tinycodec, rounded": ("round", "tab:orange", "o-")}
    styles = iter([("tab:green", "s-"), ("tab:blue", "v-"), ("tab:blue", "v:"), ("tab:purple", "^-"), ("tab:purple", "^:")])
    lines = {label: ([p[kind] for p in points], "bits_file", color, style)
             for label, (kind, color, style) in ours.items()}
    lines["TensorFlow reference"] = reference, "bits_ideal", "black", "x--"
    lines |= {label: (curve, "bits", *next(styles)) for label, curve in curves.items()}
    for axis, (key, ylabel) in zip(figure.subplots(2, 1), (("mae", "mean absolute error"), ("psnr", "PSNR [dB]"))):
        for label, (curve, bits, color, style) in lines.items():
            curve = [p for p in curve if p[bits] > 4]          # with less there is nothing to compare
            axis.plot([p[bits] for p in curve], [p[key] for p in curve], style, color=color, label=label, markersize=5)
        axis.set_xscale("log")
        axis.set_xlabel("bits per digit")
        axis.set_ylabel(ylabel)
        axis.grid(alpha=0.3)
    figure.axes[0].legend()
    _save(figure, path)


@STYLE
def against_lmbda(path, points, reference):
    """Rate and PSNR as functions of lmbda."""
    figure = Figure(figsize=(9, 3.8), layout="constrained")
    for axis, (ours, theirs, label) in zip(figure.subplots(1, 2), (("bits_ideal", "bits_ideal", "bits per digit"),
                                                                  ("psnr", "psnr", "PSNR [dB]"))):
        axis.plot([p["lmbda"] for p in points], [p["round"][ours] for p in points], "o-", color="tab:orange",
                  label="tinycodec, rounded")
        axis.plot([p["lmbda"] for p in reference], [p[theirs] for p in reference], "x--", color="black",
                  label="TensorFlow reference")
        axis.set_xscale("log")
        axis.set_xlabel("lmbda")
        axis.set_ylabel(label)
        axis.grid(alpha=0.3)
    figure.axes[0].legend()
    _save(figure, path)


@STYLE
def bits_per_latent(path, points):
    """Mean bits of each latent, sorted, for each lmbda: how many of them are used at all?"""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axis = figure.subplots()
    for p, color in zip(points, matplotlib.colormaps["viridis"](np.linspace(0.9, 0, len(points)))):
        bits = np.array(p["bits_per_latent"])
        axis.plot(np.arange(1, len(bits) + 1), bits, ".-", color=color,
                  label=f"lmbda {p['lmbda']}: {(bits > 0.05).sum()} above 0.05 bits")
    axis.set_xlabel("latents, those of most bits first")
    axis.set_ylabel("bits per digit")
    axis.legend()
    _save(figure, path)


@STYLE
def number_of_latents(path, points):
    """Rate, and loss in bits, against the number of latents the codec was given."""
    figure = Figure(figsize=(8, 4), layout="constrained")
    axis = figure.subplots()
    names = [str(p["latent_dims"]) for p in points]
    bits = [p["round"]["bits_ideal"] for p in points]
    distortion = [p["lmbda"] * p["round"]["mae"] for p in points]
    axis.bar(names, bits, color="tab:orange", label="rate")
    axis.bar(names, distortion, bottom=bits, color="tab:gray", label=f"{points[0]['lmbda']} · mean absolute error")
    for i, p in enumerate(points):
        axis.text(i, bits[i] + distortion[i] + 2, f"{bits[i] + distortion[i]:.1f}", ha="center")
    axis.set_xlabel("latents")
    axis.set_ylabel("loss, in bits per digit")
    figure.legend(loc="outside upper center", ncols=2)
    _save(figure, path)


@STYLE
def where_the_bits_are(path, points):
    """Rate in training, files and strings, as bits above the ideal code length of rounded latents."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axis = figure.subplots()
    bars = [("rate in training (noise)", "training", "bits"), ("file, dithered", "dither", "bits_file"),
            ("file, rounded", "round", "bits_file"), ("a string per digit, rounded", "round", "bits_each")]
    for j, ((label, kind, key), color) in enumerate(zip(bars, matplotlib.colormaps["tab20c"]([0, 1, 4, 6]))):
        excess = [p[kind][key] - p["round"]["bits_ideal"] for p in points]
        axis.bar(np.arange(len(points)) + 0.2 * (j - 1.5), excess, 0.2, label=label, color=color)
    axis.set_xticks(range(len(points)), [f"{p['lmbda']}\n{p['round']['bits_ideal']:.1f} bits" for p in points])
    axis.set_xlabel("lmbda, and information content of the rounded latents per digit")
    axis.set_ylabel("bits per digit above that")
    axis.legend()
    _save(figure, path)


@STYLE
def at_five_rates(path, codecs, images):
    """The same digits from codecs of several lmbda, with their bits."""
    figure = Figure(figsize=(1.6 * (len(codecs) + 1), 2 * len(images)), layout="constrained")
    axes = figure.subplots(len(images), len(codecs) + 1, squeeze=False)
    for row, image in zip(axes, images):
        _show(row[0], image)
    for column, codec in zip(axes.T[1:], codecs.values()):
        strings = codec.compress_each(images)
        decoded = codec.decompress_each(strings)
        for axis, image, string, quality in zip(column, decoded, strings, psnr(images, decoded)):
            _show(axis, image)
            axis.set_xlabel(f"{8 * len(string)} bits\n{quality:.1f} dB")
    for axis, title in zip(axes[0], ["original", *(f"lmbda {lmbda}" for lmbda in codecs)]):
        axis.set_title(title, size=11)
    _save(figure, path)


def interpolation(path, codec, first, last, steps=9):
    """Straight lines in latent space from the digits `first` to the digits `last`."""
    t = np.linspace(0, 1, steps)[:, None]
    a, b = codec.analysis(first), codec.analysis(last)
    decoded = codec.synthesis(np.concatenate([(1 - t) * y + t * z for y, z in zip(a, b)]))
    grid(path, decoded, steps, "between two digits, in latent space")


@STYLE
def samples(path, codecs, rng, count=12):
    """Digits from random bits, a row per lmbda."""
    figure = Figure(figsize=(0.7 * count, 0.7 * len(codecs) + 0.3), layout="constrained")
    axis = figure.subplots()
    _show(axis, mosaic(np.concatenate([codec.sample(count, rng) for codec in codecs.values()]), count))
    axis.set_yticks(14 + 28 * np.arange(len(codecs)), [f"lmbda {lmbda}" for lmbda in codecs])
    axis.set_title("random bits, decoded")
    _save(figure, path)


def informative(codec, images):
    """Indices of latents, those that cost most bits first."""
    y_hat = codec.dequantise(codec.quantise(codec.analysis(images)))
    return codec.bits(y_hat).mean(axis=0).argsort()[::-1]


def _save(figure, path):
    file = io.BytesIO()
    figure.savefig(file)
    write_file(path, file.getvalue())


def _show(axis, image):
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)


def mosaic(images, columns):
    """(n, 28, 28) -> one image, `columns` to a row; n must be a multiple of `columns`."""
    return images.reshape(-1, columns, 28, 28).swapaxes(1, 2).reshape(-1, columns * 28)


def tiles(image):
    """The inverse of `mosaic`: -> (n, 28, 28)."""
    rows, columns = image.shape[0] // 28, image.shape[1] // 28
    return image.reshape(rows, 28, columns, 28).swapaxes(1, 2).reshape(-1, 28, 28)
