"""Every picture, one function each: data in, a PNG file out."""
import textwrap

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from .metrics import psnr

matplotlib.rcParams.update({"font.size": 11, "axes.spines.top": False, "axes.spines.right": False,
                            "savefig.dpi": 120, "savefig.bbox": "tight"})


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
    figure.savefig(path)


def latents(path, codecs, images, rng, count=5):
    """Histograms of noisy latents ỹ under the density the prior has for them, a row per codec.

    `codecs` maps a row's label to a codec; shown are the latents most informative for the last.
    """
    shown = informative(list(codecs.values())[-1], images)[:count]
    figure = Figure(figsize=(2.4 * count, 2.5 * len(codecs)), layout="constrained")
    for row, (label, codec) in zip(figure.subplots(len(codecs), count, squeeze=False), codecs.items()):
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
    figure.savefig(path)


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
        axis.set_ylim(0, 1.2 * np.quantile(values, 0.98))
        axis.set_xlabel("epoch")
        axis.set_ylabel(label)
    figure.savefig(path)


def grid(path, images, columns, title):
    """Images side by side, `columns` in a row."""
    rows = len(images) // columns
    figure = Figure(figsize=(0.6 * columns, 0.6 * rows + 0.5), layout="constrained")
    axis = figure.subplots()
    mosaic = images[:rows * columns].reshape(rows, columns, 28, 28)
    _show(axis, mosaic.swapaxes(1, 2).reshape(rows * 28, columns * 28))
    axis.set_title(title)
    figure.savefig(path)


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
    decoded = codec.synthesis(y_hat.reshape(-1, codec.latent_dims)).reshape(len(shown), steps, 28, 28)
    figure = Figure(figsize=(0.7 * steps, 0.7 * len(shown) + 0.8), layout="constrained")
    axis = figure.subplots()
    _show(axis, decoded.swapaxes(1, 2).reshape(28 * len(shown), 28 * steps))
    axis.set_xticks(14 + 28 * np.arange(steps), [f"{w:+g}" for w in walk])
    axis.set_yticks(14 + 28 * np.arange(len(shown)), [f"latent {i}" for i in shown])
    axis.set_xlabel("value of the latent, in standard deviations of its prior")
    figure.savefig(path)


def informative(codec, images):
    """Indices of latents, those that cost most bits first."""
    y_hat = codec.dequantise(codec.quantise(codec.analysis(images)))
    return codec.prior.forward(y_hat.T)[0].mean(axis=1).argsort()[::-1]


def _show(axis, image):
    axis.imshow(image, cmap="gray", vmin=0, vmax=255)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(False)
