"""Every picture, one function each: data in, a PNG file out, or a matplotlib Figure where `path` is None."""
import io
import textwrap
from os.path import commonprefix
from types import SimpleNamespace

import matplotlib.style
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from ..coding import cumulative, encode
from ..files.safe import write_file
from .metrics import psnr

# The user's own settings are not for these pictures.
STYLE = matplotlib.style.context(["default", {"font.size": 12, "axes.spines.top": False, "axes.spines.right": False,
                                              "savefig.dpi": 120}])
# The same thing has the same colour everywhere. They are Okabe & Ito's, for all kinds of colour vision, and a dark red.
CODED, PRIOR, LOST = "#0072B2", "#E69F00", "#999999"       # latents and their bits; what is expected; unused, distortion
REFINED, NOISE, KLT, JPEG, WEBP = "#D55E00", "#CC79A7", "#009E73", "#56B4E9", "#882255"


@STYLE
def grid(path, images, columns, title, below=(), beside=(), **options):
    """Images side by side, `columns` in a row, with labels below the columns and beside the rows."""
    rows, size = len(images) // columns, min(0.9, (6.5 if beside else 7.5) / columns)
    height = size * rows + 0.65 + 0.16 * max([0, *(label.count("\n") for label in below)])
    figure, axis = _subplots(size * columns + (1 if beside else 0), height)
    _show(axis, mosaic(images[:rows * columns], columns))
    axis.set_xticks(14 + 28 * np.arange(len(below)), below, **options)
    axis.set_yticks(14 + 28 * np.arange(len(beside)), beside)
    axis.set_title(title)
    return _save(figure, path)


def digits(path, images, decoded, strings, title):
    """Originals over what is decoded from their strings; each with its PSNR, bits, and bytes in hex."""
    below = [f"{quality:.1f} dB\n{8 * len(string)} bits\n" + "\n".join(textwrap.wrap(string.hex(), 8))
             for quality, string in zip(psnr(images, decoded), strings)]
    both = np.concatenate([images, decoded])
    return grid(path, both, len(images), title, below, ["original", "decoded"], family="monospace", size=10)


def learning(path, snapshots, images):
    """A training at some of its steps, yielded as (step, codec): an animated GIF, or a list of Figures."""
    figures = []
    for step, codec in snapshots:
        strings = codec.compress_each(images)
        decoded, bits = codec.decompress_each(strings), [8 * len(string) for string in strings]
        title = f"after {step:,} steps: {np.mean(bits):.0f} bits a digit, {psnr(images, decoded).mean():.1f} dB"
        figures.append(grid(None, np.concatenate([images, decoded]), len(images), title,
                            [f"{n} bits" for n in bits], ["original", "decoded"]))
    if path is None:
        return figures
    first, *others = (Image.open(io.BytesIO(figure._repr_png_())).convert("L") for figure in figures)
    file = io.BytesIO()
    first.save(file, "GIF", save_all=True, append_images=others, duration=[1500] * len(others) + [5000], loop=0)
    write_file(path, file.getvalue())


# --- one digit, from pixels to bytes and back, by the codec's own functions ---

def follow(codec, image):
    """-> what becomes of a digit, uint8 (28, 28): latents y, integers k, their bits, the string, and the way back."""
    y = codec.analysis(image[None])
    k = codec.quantise(y)
    shares = [cumulative(j + 1, 0, s, codec.limit) - cumulative(j, 0, s, codec.limit) for j, s in zip(k[0].tolist(), codec.sigma)]
    bits, coder = -np.log2(np.array(shares) / 2**24), codec.range_coder()      # the prior's, but at most 24 for a latent
    string, = coder.encode_each(k, mean=0)
    y_hat = codec.dequantise(coder.decode_each([string], mean=0))
    return SimpleNamespace(y=y[0], k=k[0], bits=bits, so_far=bits.cumsum(), shown=np.flatnonzero(bits > 0.05),
                           string=string, y_hat=y_hat[0], decoded=codec.synthesis(y_hat)[0])


def interval(codec, k):
    """To what do a digit's first integers k narrow the range coder's [0, 1)? -> binary digits of both ends, those of the
    lowest and of the highest message that begins so."""
    stds, limit = [*codec.sigma[:len(k)], 1, 1, 1], codec.limit
    ends = [encode([*k, end, end, end], [0] * len(stds), stds, limit) for end in (-limit, limit)]
    return [_binary(end.ljust(max(map(len, ends)), b"\0")) for end in ends]


def one_digit_table(codec, image):
    """`one_digit` as text: a row for each latent that costs more than 0.05 bits, then the bytes."""
    digit, mu = follow(codec, image), codec.prior.params["mu"]
    rows = [f"{i:6} {digit.y[i]:7.2f} {digit.y[i] - mu[i]:7.2f} {digit.k[i]:4} {2**-digit.bits[i]:7.3f} {digit.bits[i]:7.2f} "
            f"{digit.so_far[i]:12.2f}" for i in digit.shown]
    return "\n".join(["latent       y    y-mu    k       p    bits  bits so far", *rows,
                      f"The other {len(digit.y) - len(rows)} latents cost next to nothing. The shortest bytes in the interval:",
                      f"{digit.string.hex(' ')}, {_binary(digit.string)}"])


@STYLE
def one_digit(path, codec, image):
    """One digit, uint8 (28, 28), from pixels to bytes and back: all that the codec does, in one picture."""
    digit = follow(codec, image)
    d, rows, n, bits = len(digit.y), len(digit.shown), 8 * len(digit.string), digit.bits.sum()
    figure = Picture(figsize=(7.5, 9.2 + 0.27 * rows), layout="constrained")
    parts = there, middle, code, back = figure.subfigures(4, 1, height_ratios=[2.5, 1.9 + 0.27 * rows, 2, 2.8])
    for part, text in zip(parts, (
            f"1  A network, the analysis transform, turns 784 pixels x into {d} numbers, the latents y.",
            "2  Each y is rounded to μ + k. The prior gives the integer k a probability p: the Gaussian's area\n"
            "    within ½ of μ + k. The range coder divides its interval, at first [0, 1), among the integers by\n"
            "    their p, and keeps k's part. It is p times as wide: −log₂ p more binary digits to name it.",
            f"3  All {bits:.2f} bits: the last interval is $2^{{-{bits:.2f}}}$ wide. Black: binary digits that all its numbers share.\n"
            f"    {n // 8} whole bytes ({n} bits) are the fewest that name one of its numbers.",
            "4  Back: the decoder has the same prior and divides [0, 1) alike. The part that holds the number\n"
            "    gives k, latent by latent. Another network, the synthesis transform, turns ŷ = μ + k into x̂.")):
        part.suptitle(text, x=0.01, ha="left", size=11)

    pixels, latents = there.subplots(1, 2, width_ratios=[1, 2.8])
    _show(pixels, image, f"x, {8 * image.size:,} bits")
    _latents(latents, codec, digit.y, digit.shown, "blue: y. orange: what the prior, one Gaussian per latent, expects: μ ± σ.\n"
             f"×: {d - rows} that cost next to no bits: their k is 0, with p near 1.")
    _narrowing(*middle.subplots(1, 4, sharey=True, width_ratios=[1.3, 1.5, 1.3, 2.9]), codec, digit)

    axis = code.subplots()
    low, high = interval(codec, digit.k.tolist())
    for row, number in enumerate((low, _binary(digit.string), high)):
        _write_bits(axis, row, number[:n], min(7, 400 / n), REFINED)
        _write_bits(axis, row, commonprefix([low, high]), min(7, 400 / n), "black")
    for i in range(0, n, 16):
        axis.axvspan(i, i + 8, color=LOST, alpha=0.2, linewidth=0)
    axis.set_xticks(np.arange(4, n, 8), [f"{byte:02x}" for byte in digit.string], family="monospace", size=min(14, 800 / n))
    axis.set(xlim=(0, n), ylim=(2.5, -0.5), yticks=range(3), yticklabels=["lower end  0.", "sent  0.", "upper end  0."],
             xlabel="the bytes, in base 16")
    _bare(axis)

    latents, decoded, error = back.subplots(1, 3, width_ratios=[2, 1, 1])
    _latents(latents, codec, digit.y_hat, digit.shown, "ŷ")
    _show(decoded, digit.decoded, f"x̂, {n} bits")
    _show(error, digit.decoded.astype(float) - image,
          f"x̂ − x, PSNR {psnr(image[None], digit.decoded[None])[0]:.1f} dB\norange: too dark,\npurple: too bright", "PuOr", -255)
    return _save(figure, path)


def _latents(axis, codec, y, shown, title):
    """Latents as bars, and the prior's μ ± σ behind them."""
    i = np.arange(len(y))
    axis.use_sticky_edges = False
    axis.bar(i, 2 * codec.sigma, 0.9, codec.prior.params["mu"] - codec.sigma, color=PRIOR, alpha=0.5)
    axis.bar(shown, y[shown], 0.5, color=CODED)
    axis.plot(np.delete(i, shown), np.delete(y, shown), "x", color=LOST, markersize=4)
    axis.axhline(0, color="black", linewidth=0.5)
    axis.locator_params(axis="y", integer=True)
    axis.set_xlabel("latent")
    axis.set_title(title, size=10, loc="left")


def _narrowing(bells, text, shares, total, codec, digit):
    """A row for each latent: the probabilities, the integer, its cost, its share of the interval, the bits so far."""
    reach = int(np.abs(digit.k).max()) + 3
    integers = range(-reach, reach + 1)
    for row, i in enumerate(digit.shown):
        F = np.array([cumulative(k, 0, codec.sigma[i], codec.limit) for k in [*integers, reach + 1]]) / 2**24
        k, p, j = digit.k[i], np.diff(F), digit.k[i] + reach
        height = 0.8 * p / p.max()
        bells.fill_between(integers, row + 0.4 - height, row + 0.4, step="mid", color=PRIOR, alpha=0.5, linewidth=0)
        bells.bar(k, -height[j], 1, row + 0.4, color=CODED)
        bells.plot(digit.y[i] - codec.prior.params["mu"][i], row + 0.4, "k^", markersize=4, clip_on=False)
        for x, value in zip((0.2, 0.62, 1), (f"{k}".replace("-", "−"), f"{p[j]:.3f}", f"{digit.bits[i]:.2f}")):
            text.text(x, row, value, va="center", ha="right", size=10)
        shares.barh(row, 1, 0.4, color=PRIOR, alpha=0.5)
        shares.vlines(F, row - 0.2, row + 0.2, color="white", linewidth=0.7)
        shares.barh(row, p[j], 0.4, F[j], color=CODED)
        if i != digit.shown[-1]:
            shares.fill([F[j], F[j + 1], 1, 0], row + np.array([0.2, 0.2, 0.8, 0.8]), color=CODED, alpha=0.2, linewidth=0)
        total.barh(row, digit.so_far[i], 0.8, color=CODED, alpha=0.2)
        total.barh(row, -digit.bits[i], 0.8, digit.so_far[i], color=CODED, alpha=0.4)
        _write_bits(total, row, commonprefix(interval(codec, digit.k[:i + 1].tolist())), min(5, 230 / 8 / len(digit.string)), "black")
    n = len(digit.shown)
    bells.set(xlabel="k", ylabel="latent", ylim=(max(n, 1) - 0.5, -0.5), yticks=range(n), yticklabels=digit.shown)
    text.set(xticks=[], xlim=(-0.1, 1.1))
    shares.set(xticks=[], xlim=(0, 1))
    for x in (0, 1):
        shares.text(x, -0.3, x, ha="center", size=8)
    total.set(xlabel="bits", xlim=(0, 8 * len(digit.string)))
    for axis, title in ((bells, "orange: probabilities\n(rows: own scales)\n▲: y − μ, blue: k"), (text, "k         p       bits"),
                        (shares, "each bar: blue part\nof the one above,\nk from left to right"),
                        (total, "bits so far (dark: this latent's), and\nbinary digits after “0.” that all\nnumbers in the bar share")):
        axis.set_title(title, size=10)
        _bare(axis)


def _binary(data):
    return "".join(f"{byte:08b}" for byte in data)


def _write_bits(axis, row, digits, size, color):
    """Binary digits, one a unit."""
    for digit in "01":
        x = [j + 0.5 for j, c in enumerate(digits) if c == digit]
        axis.plot(x, [row] * len(x), linestyle="", marker=f"${digit}$", markersize=size, markeredgewidth=0, color=color)


# --- of a trained codec ---

@STYLE
def latents(path, codecs, images, rng, count=4):
    """Histograms of noisy latents ỹ, and the prior's density for them. Each of `codecs`, a dict by label, has a row."""
    shown = informative(list(codecs.values())[-1], images)[:count]
    figure, axes = _subplots(7.5, 2.3 * len(codecs) + 0.6, len(codecs), len(shown), squeeze=False)
    for row, (label, codec) in zip(axes, codecs.items()):
        y = codec.analysis(images).T
        y = y + rng.uniform(-0.5, 0.5, y.shape)
        for axis, i in zip(row, shown):
            axis.hist(y[i], bins=60, density=True, color=CODED, alpha=0.5)
            t = np.linspace(*axis.get_xlim(), 300)
            bits, _ = codec.prior.forward(np.tile(t, (codec.latent_dims, 1)))
            axis.plot(t, 2.0**-bits[i], color=PRIOR, linewidth=3)
            axis.set(yticks=[], xlabel=f"latent {i}")
        row[0].set_ylabel(f"density, {label}")
    figure.suptitle("blue: latents + uniform noise\norange: the prior's density of Gaussian + uniform noise")
    return _save(figure, path)


@STYLE
def training_curves(path, history, epochs):
    """Rate and distortion of every training batch, a dot each, and their running mean."""
    figure, axes = _subplots(7.5, 3.2, 1, 2)
    for axis, name, unit, color in zip(axes, ("rate", "distortion"), ("bits per digit", "mean |x − x̂|"), (CODED, LOST)):
        values = history[name]
        epoch = epochs * np.arange(1, len(values) + 1) / len(values)
        window = max(1, len(values) // 100)
        axis.plot(epoch, values, ".", markersize=1, color=color, alpha=0.5)
        axis.plot(epoch[window - 1:], np.convolve(values, np.ones(window) / window, mode="valid"), color="black")
        axis.set(xlabel="epoch", ylabel=f"{name} [{unit}]", ylim=(0, 1.05 * values[len(values) // 50:].max()))
    return _save(figure, path)


def basis_walk(path, codec, images, count=10, steps=7):
    """Walks along canonical-basis vectors of the latent space, through the prior's mean; the most informative come first."""
    shown = informative(codec, images)[:count]
    walk = np.linspace(-3, 3, steps, dtype=np.float32)
    y_hat = np.tile(codec.prior.params["mu"], (len(shown), steps, 1))
    for row, i in zip(y_hat, shown):
        row[:, i] += codec.sigma[i] * walk
    return grid(path, codec.synthesis(y_hat.reshape(-1, codec.latent_dims)), steps, "one latent moves by so many of its prior's\n"
                "standard deviations, the others stay at the mean",
                [f"{w:+g}" if w else "0" for w in walk], [f"latent {i}" for i in shown])


# --- of the experiments: `points` are results of tinycodec.experiments.sweep.run, by increasing lmbda ---

@STYLE
def rate_distortion(path, points, reference, curves):
    """Mean absolute error and PSNR against bits per digit, of this codec and all others."""
    styles = iter([(KLT, "s-"), (JPEG, "v-"), (JPEG, "v:"), (WEBP, "^-"), (WEBP, "^:")])
    lines = {"tinycodec, refined": ([p["refined"] for p in points], "bits_file", REFINED, "o-"),
             "tinycodec, rounded": ([p["round"] for p in points], "bits_file", CODED, "o-"),
             "TensorFlow reference": (reference, "bits_ideal", "black", "x--")}
    lines |= {label: (curve, "bits", *next(styles)) for label, curve in curves.items()}
    figure, axes = _subplots(7.5, 9.5, 2, 1)
    for axis, (key, ylabel) in zip(axes, (("mae", "mean absolute error"), ("psnr", "PSNR [dB]"))):
        for label, (curve, bits, color, style) in lines.items():
            curve = [p for p in curve if p[bits] > 4]          # with less there is nothing to compare
            axis.plot([p[bits] for p in curve], [p[key] for p in curve], style, color=color, label=label, markersize=5)
        axis.set(xscale="log", xlabel="bits per digit", ylabel=ylabel)
        axis.grid(alpha=0.3)
    axes[0].legend()
    return _save(figure, path)


@STYLE
def against_lmbda(path, points, reference):
    """Rate and PSNR as functions of lmbda."""
    figure, axes = _subplots(7.5, 3.6, 1, 2)
    for axis, (key, label) in zip(axes, (("bits_ideal", "bits per digit"), ("psnr", "PSNR [dB]"))):
        axis.plot([p["lmbda"] for p in points], [p["round"][key] for p in points], "o-", color=CODED, label="tinycodec, rounded")
        axis.plot([p["lmbda"] for p in reference], [p[key] for p in reference], "x--", color="black", label="TensorFlow reference")
        axis.set(xscale="log", xlabel="lmbda", ylabel=label)
        axis.grid(alpha=0.3)
    axes[0].legend()
    return _save(figure, path)


@STYLE
def bits_per_latent(path, points):
    """Mean bits of each latent, sorted, for each lmbda: how many of them are used at all?"""
    figure, axis = _subplots(7.5, 4.5)
    for p, color in zip(points, matplotlib.colormaps["viridis"](np.linspace(0.9, 0, len(points)))):
        bits = np.array(p["bits_per_latent"])
        axis.plot(np.arange(1, len(bits) + 1), bits, ".-", color=color, label=f"{(bits > 0.05).sum()} at lmbda {p['lmbda']}")
    axis.set(xlabel="latents, those of most bits first", ylabel="bits per digit")
    axis.legend(title="above 0.05 bits:")
    return _save(figure, path)


@STYLE
def loss_against_time(path, points):
    """Loss on the test digits against training time: (system, epochs, time in epochs of tinycodec, loss) each."""
    figure, axis = _subplots(7.5, 4)
    for system, color, style in (("tinycodec", CODED, "o-"), ("reference", "black", "x")):
        _, epochs, times, losses = zip(*(p for p in points if p[0] == system))
        axis.plot(times, losses, style, color=color, label=system)
        for x, y, e in zip(times, losses, epochs):
            axis.annotate(f"{e} epoch{'s' * (e > 1)}", (x, y), (5, 5), textcoords="offset points", size=10)
    axis.set(xscale="log", xlabel="training time, in epochs of tinycodec", ylabel="loss on the test digits [bits]")
    axis.set_xlim(right=2 * axis.get_xlim()[1])
    axis.legend()
    return _save(figure, path)


@STYLE
def where_the_bits_are(path, points):
    """Rate in training, files and strings, as bits above the ideal code length of rounded latents."""
    figure, axis = _subplots(7.5, 4.5)
    bars = [("rate in training (noise)", "training", "bits", NOISE, 1), ("file, dithered", "dither", "bits_file", NOISE, 0.5),
            ("file, rounded", "round", "bits_file", CODED, 1), ("a string per digit, rounded", "round", "bits_each", CODED, 0.5)]
    for j, (label, kind, key, color, alpha) in enumerate(bars):
        excess = [p[kind][key] - p["round"]["bits_ideal"] for p in points]
        axis.bar(np.arange(len(points)) + 0.2 * (j - 1.5), excess, 0.2, label=label, color=color, alpha=alpha)
    axis.set_xticks(range(len(points)), [f"{p['lmbda']}\n{p['round']['bits_ideal']:.1f} bits" for p in points])
    axis.set(xlabel="lmbda, and information content of the rounded latents per digit", ylabel="bits per digit above that")
    axis.legend()
    return _save(figure, path)


@STYLE
def at_five_rates(path, codecs, images):
    """The same digits from codecs of several lmbda, with their bits."""
    figure, axes = _subplots(7.5, 1.9 * len(images), len(images), len(codecs) + 1, squeeze=False)
    for row, image in zip(axes, images):
        _show(row[0], image)
    for column, codec in zip(axes.T[1:], codecs.values()):
        strings = codec.compress_each(images)
        decoded = codec.decompress_each(strings)
        for axis, image, string, quality in zip(column, decoded, strings, psnr(images, decoded)):
            _show(axis, image, f"{8 * len(string)} bits\n{quality:.1f} dB")
    for axis, title in zip(axes[0], ["original", *(f"lmbda {lmbda}" for lmbda in codecs)]):
        axis.set_title(title, size=12)
    return _save(figure, path)


def interpolation(path, codec, first, last, steps=9):
    """Straight lines in latent space from the digits `first` to the digits `last`."""
    t = np.linspace(0, 1, steps)[:, None]
    y = np.concatenate([(1 - t) * a + t * b for a, b in zip(codec.analysis(first), codec.analysis(last))])
    return grid(path, codec.synthesis(y), steps, "between two digits, in latent space")


def samples(path, codecs, rng, count=12):
    """Digits from random bits, a row per lmbda."""
    return grid(path, np.concatenate([codec.sample(count, rng) for codec in codecs.values()]), count, "random bits, decoded",
                beside=[f"lmbda {lmbda}" for lmbda in codecs])


def informative(codec, images):
    """Indices of latents, those that cost most bits first."""
    y_hat = codec.dequantise(codec.quantise(codec.analysis(images)))
    return codec.bits(y_hat).mean(axis=0).argsort()[::-1]


class Picture(Figure):
    """A Figure that a notebook shows, whether pyplot was imported or not."""

    @STYLE
    def _repr_png_(self):
        file = io.BytesIO()
        self.savefig(file)
        return file.getvalue()


def _subplots(width, height, rows=1, columns=1, **options):
    figure = Picture(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def _save(figure, path):
    if path is None:
        return figure
    write_file(path, figure._repr_png_())


def _show(axis, image, label="", cmap="gray", vmin=0):
    axis.imshow(image, cmap=cmap, vmin=vmin, vmax=255)
    axis.set(xticks=[], yticks=[], xlabel=label)
    _bare(axis)


def _bare(axis):
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def mosaic(images, columns):
    """(n, 28, 28) -> one image, `columns` to a row; n must be a multiple of `columns`."""
    return images.reshape(-1, columns, 28, 28).swapaxes(1, 2).reshape(-1, columns * 28)


def tiles(image):
    """The inverse of `mosaic`: -> (n, 28, 28)."""
    rows, columns = image.shape[0] // 28, image.shape[1] // 28
    return image.reshape(rows, 28, columns, 28).swapaxes(1, 2).reshape(-1, 28, 28)
