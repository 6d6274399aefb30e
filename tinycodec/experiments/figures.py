"""Every picture, one function each: data in, a PNG file out."""
import io
import math
import textwrap
from os.path import commonprefix
from types import SimpleNamespace

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from ..coding import cumulative, encode
from ..files.safe import write_file
from .metrics import psnr

STYLE = matplotlib.rc_context({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
                               "savefig.dpi": 120, "savefig.bbox": "tight"})


DATA, PRIOR, SILENT = "#0072B2", "#E69F00", "#999999"


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


def follow(codec, image):
    """What becomes of one digit, uint8 (28, 28), on its way to bytes and back, by the codec's own functions."""
    y = codec.analysis(image[None])
    k = codec.quantise(y)
    bits = codec.bits(codec.dequantise(k))[0]
    string = codec.compress_each(image[None])[0]
    y_hat = codec.dequantise(codec.range_coder().decode(string, 1, 0))
    return SimpleNamespace(y=y[0], k=k[0], bits=bits, shown=np.flatnonzero(bits > 0.05), so_far=bits.cumsum(),
                           string=string, y_hat=y_hat[0], decoded=codec.synthesis(y_hat)[0])


def one_digit_table(codec, image):
    """`one_digit` as text: a row for each latent that costs more than 0.05 bits, then the bytes."""
    digit = follow(codec, image)
    lines = ["latent       y    k       p    bits  bits so far"]
    lines += [f"{i:6} {digit.y[i]:7.2f} {digit.k[i]:4} {2**-digit.bits[i]:7.3f} {digit.bits[i]:7.2f} {digit.so_far[i]:12.2f}"
              for i in digit.shown]
    return "\n".join([*lines, f"The other {len(digit.y) - len(digit.shown)} latents cost nothing. The shortest bytes "
                      f"in the interval: {digit.string.hex(' ')}", f"({_binary(digit.string)})"])


def interval(codec, k):
    """To what does the range coder narrow [0, 1) for a digit's first integers k? -> binary digits of both ends.

    They are those of the lowest and of the highest message that begins with these integers.
    """
    stds, limit = [*codec.sigma[:len(k)], 1, 1, 1], codec.limit
    ends = [encode([*k, end, end, end], [0] * len(stds), stds, limit) for end in (-limit, limit)]
    return [_binary(end.ljust(max(map(len, ends)), b"\0")) for end in ends]


@STYLE
def one_digit(path, codec, image):
    """One digit, uint8 (28, 28), from pixels to bytes and back: all that the codec does, in one picture."""
    digit, mu, sigma = follow(codec, image), codec.prior.params["mu"], codec.sigma
    n, rows, silent = 8 * len(digit.string), len(digit.shown), np.setdiff1d(np.arange(len(mu)), digit.shown)
    figure = Figure(figsize=(7.5, 8.5 + 0.27 * rows), layout="constrained")
    there, middle, code, back = figure.subfigures(4, 1, height_ratios=[2.5, 1.7 + 0.27 * rows, 1.7, 2.5])

    def latents(axis, y, title):
        axis.use_sticky_edges = False
        axis.bar(np.arange(len(y)), 2 * sigma, 0.9, mu - sigma, color=PRIOR, alpha=0.5)
        axis.bar(digit.shown, y[digit.shown], 0.5, color=DATA)
        axis.plot(silent, y[silent], "x", color=SILENT, markersize=4)
        axis.axhline(0, color="black", linewidth=0.5)
        axis.set_xlabel("latent")
        axis.set_title(title, size=10, loc="left")

    _heading(there, f"1  The analysis transform turns 784 pixels x into {len(mu)} numbers, the latents y.")
    pixels, axis = there.subplots(1, 2, width_ratios=[1, 2.8])
    _show(pixels, image)
    pixels.set_xlabel(f"x, {8 * image.size:,} bits")
    latents(axis, digit.y, "blue: y. Orange: what the prior, a Gaussian for each latent, expects, μ ± σ.\n"
            f"grey: {len(silent)} of σ near 0. They are the same for every digit, and cost no bits.")

    _heading(middle, "2  Each y is rounded to μ + k. The prior gives the integer k a probability p. That costs −log₂ p\n"
             "    bits: the range coder's interval, [0, 1) at the beginning, narrows to the share p that is k's.")
    bells, text, shares, total = middle.subplots(1, 4, sharey=True, width_ratios=[1.3, 1.5, 1.3, 2.9])
    reach = int(np.abs(digit.k).max()) + 3
    ks = np.arange(-reach, reach + 1)
    for row, i in enumerate(digit.shown):
        F = np.array([cumulative(int(k), 0, sigma[i], codec.limit) for k in [*ks, reach + 1]]) / 2**24
        k, p, j = digit.k[i], np.diff(F), digit.k[i] + reach
        height = 0.8 * p / p.max()
        bells.fill_between(ks, row + 0.4 - height, row + 0.4, step="mid", color=PRIOR, alpha=0.5, linewidth=0)
        bells.bar(k, -height[j], 1, row + 0.4, color=DATA)
        bells.plot(digit.y[i] - mu[i], row + 0.4, "k^", markersize=4, clip_on=False)
        for x, value in zip((0.2, 0.65, 1), (f"{k}".replace("-", "−"), f"{p[j]:.3f}", f"{digit.bits[i]:.2f}")):
            text.text(x, row, value, va="center", ha="right", size=10)
        shares.barh(row, 1, 0.4, color=PRIOR, alpha=0.5)
        shares.vlines(F, row - 0.2, row + 0.2, color="white", linewidth=0.7)
        shares.barh(row, p[j], 0.4, F[j], color=DATA)
        if row < rows - 1:
            shares.fill([F[j], F[j + 1], 1, 0], row + np.array([0.2, 0.2, 0.8, 0.8]), color=DATA, alpha=0.2, linewidth=0)
        total.barh(row, digit.so_far[i], 0.8, color=DATA, alpha=0.2)
        total.barh(row, -digit.bits[i], 0.8, digit.so_far[i], color=DATA, alpha=0.4)
        _bits(total, row, commonprefix(interval(codec, digit.k[:i + 1].tolist())), 5)
    bells.set_ylim(rows - 0.5, -0.5)
    bells.set_yticks(range(rows), digit.shown)
    for axis, title in ((bells, "latent\ny − μ (▲)\nrounds to k"), (text, "k         p       bits"), (shares, "interval\n0 … 1"),
                        (total, "bits so far, and the digits that\nall numbers in the interval\nhave in common, 0.…")):
        axis.set_title(title, size=10)
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0)
    text.set_xticks([])
    text.set_xlim(-0.1, 1.1)
    shares.set_xticks([])
    total.set_xlim(0, n)

    _heading(code, f"3  {digit.so_far[-1]:.2f} bits: the last interval is $2^{{-{digit.so_far[-1]:.2f}}}$ wide. The shortest bytes in it are "
             f"{len(digit.string)}, {n} bits.")
    axis = code.subplots()
    low, high = interval(codec, digit.k.tolist())
    settled = len(commonprefix([low, high]))
    for row, number in enumerate((low, _binary(digit.string), high)):
        _bits(axis, row, number[:n], 7, settled)
    for i in range(0, n, 16):
        axis.axvspan(i, i + 8, color=SILENT, alpha=0.2, linewidth=0)
    axis.set_xlim(0, n)
    axis.set_ylim(2.5, -0.5)
    axis.set_yticks(range(3), ["from", "bytes", "to"])
    axis.set_xticks(np.arange(4, n, 8), [f"{byte:02x}" for byte in digit.string], family="monospace", size=14)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)

    _heading(back, "4  Back: the bytes give the same integers k. The synthesis transform turns ŷ = μ + k into a digit.")
    axis, decoded, error = back.subplots(1, 3, width_ratios=[2, 1, 1])
    latents(axis, digit.y_hat, "ŷ")
    _show(decoded, digit.decoded)
    decoded.set_xlabel(f"x̂, {n} bits")
    _show(error, digit.decoded.astype(float) - image, cmap="PuOr", vmin=-255)
    error.set_xlabel(f"x̂ − x, {psnr(image[None], digit.decoded[None])[0]:.1f} dB")
    error.set_title("orange: too dark", size=10)
    return _save(figure, path)


def _heading(figure, text):
    figure.suptitle(text, x=0.01, ha="left", size=11)


def _binary(data):
    return "".join(f"{byte:08b}" for byte in data)


def _bits(axis, row, digits, size, settled=math.inf):
    """Write binary digits, one a unit, those settled in black."""
    for digit in "01":
        for color, free in (("black", False), (DATA, True)):
            x = [j + 0.5 for j, c in enumerate(digits) if c == digit and (j >= settled) == free]
            axis.plot(x, [row] * len(x), linestyle="", marker=f"${digit}$", markersize=size, markeredgewidth=0, color=color)


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
    if path is None:
        return figure
    file = io.BytesIO()
    figure.savefig(file)
    write_file(path, file.getvalue())


def _show(axis, image, cmap="gray", vmin=0):
    axis.imshow(image, cmap=cmap, vmin=vmin, vmax=255)
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
