"""Training: minimise rate + lmbda · distortion, in bits per image, with Adam.

One step: a batch of uint8 images and of uniform noise -> `loss_and_gradients` -> `Adam.update`.
The batch is split into one shard per thread: NumPy releases the interpreter lock inside its loops
and matrix products, and layers keep nothing of a batch, so shards run side by side.
"""
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from .files.checkpoint import Checkpoint
from .images import as_pixels, check_images
from .machine import default_threads


def loss_and_gradients(codec, x, noise, lmbda, distortion="mae", batch=None, rate_weight=1.0):
    """-> (loss, rate, distortion) with loss = rate_weight · rate + lmbda · distortion, and dloss/dp
    by name of parameter.

    x (28, 1, 28, n) are pixels, noise (latent_dims, n) is uniform in ±½. Every term is a sum over
    the n images divided by `batch` (default n), so that shards of a batch add up to the batch.
    """
    n = batch or x.shape[-1]
    y, cache_a = codec.g_a.forward(x)
    y_tilde = y + noise
    bits, cache_p = codec.prior.forward(y_tilde)
    x_hat, cache_s = codec.g_s.forward(y_tilde)

    error = x_hat - x
    size = n * x[..., 0].size
    if distortion == "mae":
        d, dx_hat = np.abs(error).sum(dtype=np.float64) / size, np.sign(error)
    else:
        d, dx_hat = np.square(error).sum(dtype=np.float64) / size, 2 * error
    dx_hat *= lmbda / size
    rate = bits.sum(dtype=np.float64) / n

    dy_s, grads_s = codec.g_s.backward(dx_hat, cache_s)
    dy_p, grads_p = codec.prior.backward(np.full_like(bits, rate_weight / n), cache_p)
    _, grads_a = codec.g_a.backward(dy_s + dy_p, cache_a, input_gradient=False)
    grads = {f"{part}.{name}": g for part, gs in (("g_a", grads_a), ("g_s", grads_s), ("prior", grads_p))
             for name, g in gs.items()}
    return (rate_weight * rate + lmbda * d, rate, d), grads


class Adam:
    """Adam (Kingma & Ba 2015, algorithm 1, with the efficient order of its section 2).

        m ← β₁ m + g,   v ← β₂ v + g²:   the paper's m/(1 − β₁) and v/(1 − β₂), which spares two products
        p ← p − α' m/(√v + ε'),   α' = α √(1 − β₂ᵗ)/(1 − β₁ᵗ) · (1 − β₁)/√(1 − β₂),   ε' = ε/√(1 − β₂)

    All three are done in place on one block after another, each small enough to stay in the cache
    from line to line, and without temporaries: a third of the time of the same lines on 2¹⁴ entries
    with temporaries. Still smaller blocks are slower, since threads queue for the interpreter lock.

    With the usual β₂ of 0.999, the first large gradient after a calm moves an entry by (1 − β₁)/√(1 − β₂) = 3.2
    learning rates. With lmbda 100 that woke latents that had rightly fallen silent, to the end of the training;
    the loss on the test digits was 17.4. With 0.99 it is one learning rate, and 12.6; larger lmbda do not mind.
    """
    BETA1, BETA2, EPSILON, BLOCK = 0.9, 0.99, 1e-7, 2**17            # ε is TensorFlow's

    def __init__(self, params, speed=None):
        """`params` are arrays by name; `speed` gives some of them a multiple of the learning rate."""
        self.speed = speed or {}
        if not all(p.flags.c_contiguous for p in params.values()):
            raise ValueError("expected parameters in C order, to be updated in place")
        flat = {name: p.reshape(-1) for name, p in params.items()}
        self.state = {name: (p, np.zeros_like(p), np.zeros_like(p)) for name, p in flat.items()}
        self.blocks = [(name, slice(i, i + self.BLOCK))
                       for name, p in flat.items() for i in range(0, p.size, self.BLOCK)]
        self.t = 0

    def arrays(self):
        """m and v by name, to be saved or set. (The rest of the state is t.)"""
        return {f"adam.{letter}.{name}": a for name, (_, m, v) in self.state.items() for letter, a in (("m", m), ("v", v))}

    def update(self, shards, learning_rate, on_threads):
        """Change the parameters in place; the gradient is the sum of the dicts `shards`."""
        self.t += 1
        # Python floats: a NumPy float64 would make the whole product below float64, and slow.
        alpha = float(learning_rate * np.sqrt(1 - self.BETA2**self.t) / (1 - self.BETA1**self.t)
                      * (1 - self.BETA1) / np.sqrt(1 - self.BETA2))
        epsilon = float(self.EPSILON / np.sqrt(1 - self.BETA2))

        def update(blocks):
            for name, block in blocks:
                p, m, v = (a[block] for a in self.state[name])
                g, *others = (shard[name].reshape(-1)[block] for shard in shards)
                for other in others:
                    g = g + other
                m *= self.BETA1
                m += g
                step = g * g
                v *= self.BETA2
                v += step
                np.sqrt(v, out=step)
                step += epsilon
                np.divide(m, step, out=step)
                step *= alpha * self.speed.get(name, 1)
                p -= step

        threads = len(shards)
        on_threads(update, [self.blocks[i::threads] for i in range(threads)])


def train(codec, images, lmbda, epochs=15, batch=128, learning_rate=3e-3, distortion="mae",
          seed=0, threads=None, progress=True, checkpoint=None):
    """Train `codec` in place on uint8 images (n, 28, 28): minimise rate + lmbda · distortion.

    rate is in bits per image; distortion is the mean over pixels in [0, 1] of |x − x̂| ("mae") or
    (x − x̂)² ("mse"). `learning_rate` is where Adam begins; it falls to 0 on a cosine. `seed` decides
    the order of the images and the noise. `threads` shards of a batch are worked on at once, which
    changes how sums are rounded; more than one wants a matrix library of one thread (see
    tinycodec.machine, also for the default). `checkpoint` is a file written at the start and after every epoch; if it
    exists already, training goes on from there, to the same bits as in one go, given the same arguments,
    number of threads, and codec as it was at the start. It is the caller's to delete in the end. Raises
    ValueError if another training writes it, too.

    Returns the history, a dict of float arrays with one entry per step: "loss", "rate" and
    "distortion". Raises FloatingPointError at the first loss that is not finite, without another
    step. `progress` is written to standard error.
    """
    images = check_images(images)
    if not len(images):
        raise ValueError("expected at least one image to train on, got none")
    if distortion not in ("mae", "mse"):
        raise ValueError(f"expected distortion 'mae' or 'mse', got {distortion!r}")
    for name, value in (("lmbda", lmbda), ("learning_rate", learning_rate)):
        if not 0 < value < np.inf:
            raise ValueError(f"expected a positive, finite {name}, got {value!r}")
    for name, value in (("epochs", epochs), ("batch", batch), ("threads", threads or 1)):
        if not (isinstance(value, (int, np.integer)) and value > 0):
            raise ValueError(f"expected {name}, a positive integer, got {value!r}")
    threads = threads or default_threads()
    rng = np.random.default_rng(seed)
    # A step of Adam moves log σ by about the learning rate, so at the networks' rate the prior would
    # trail behind the latents for most of the training and the rate be overpaid. With lmbda 2000 and
    # 15 epochs, the loss on the test digits, rounded, is 109.8 at a constant 1e-3 and β₂ = 0.999, as for the
    # reference; 105.5 with the faster prior, the cosine and β₂ = 0.99; and 101.2 to 101.6 with these from 3e-3.
    adam = Adam(codec.params, speed={name: 20 for name in codec.params if name.startswith("prior.")})
    steps_an_epoch = -(-len(images) // batch)
    steps = epochs * steps_an_epoch
    saved, history = None, []
    if checkpoint is not None:
        saved = Checkpoint(checkpoint, codec, images, latent_dims=codec.latent_dims, lmbda=lmbda, epochs=epochs, batch=batch,
                           learning_rate=learning_rate, distortion=distortion, seed=seed)
        history = saved.restore(codec, adam, rng, steps)
        if saved.last is None:                 # a disk that is full is better known now than after an epoch
            saved.save(codec, adam, rng, history)
    first_epoch = len(history) // steps_an_epoch
    report = Progress(first_epoch, epochs, len(images)) if progress else None

    with ThreadPoolExecutor(threads) as pool:
        def on_threads(function, items):
            return list(pool.map(function, items))

        for epoch in range(first_epoch, epochs):
            order = rng.permutation(len(images))
            for start in range(0, len(images), batch):
                chosen = order[start:start + batch]
                noise = rng.random((codec.latent_dims, len(chosen)), np.float32) - np.float32(0.5)
                # Where bits are dear from the start, latents fall silent before the synthesis transform
                # has learnt to use them, and for good. So for a small lmbda the rate begins with the
                # weight it has at lmbda = 2000, and grows to its own in the first 10 % of the steps: with
                # lmbda 250 and 15 epochs, the loss is 27.1 instead of 31.4.
                weight = min(1, lmbda / 2000)
                weight = min(1, weight + (1 - weight) * len(history) / (0.1 * steps))
                cosine = (1 + np.cos(np.pi * len(history) / steps)) / 2          # Loshchilov & Hutter 2017

                def shard(part):
                    x = as_pixels(images[chosen[part]])
                    return loss_and_gradients(codec, x, noise[:, part], lmbda, distortion, len(chosen),
                                              weight)

                parts = np.array_split(np.arange(len(chosen)), min(threads, len(chosen)))
                terms, grads = zip(*on_threads(shard, parts))
                _, rate, d = np.sum(terms, axis=0)
                history.append((rate + lmbda * d, rate, d))
                if not np.isfinite(history[-1][0]):
                    raise FloatingPointError(f"the loss is {history[-1][0]} at step {len(history)} (epoch {epoch + 1}): "
                                             "a lower learning_rate or lmbda may help")
                adam.update(grads, learning_rate * cosine, on_threads)
                if saved and start + batch >= len(images):     # before the report: an epoch on the screen is safe
                    saved.save(codec, adam, rng, history)
                if report:
                    report(epoch, start + len(chosen), history)
    return dict(zip(("loss", "rate", "distortion"), np.array(history).T))


class Progress:
    """A line that renews itself on a terminal, a line an epoch elsewhere."""

    def __init__(self, first_epoch, epochs, images):
        self.first_epoch, self.epochs, self.images = first_epoch, epochs, images
        self.begun = self.shown = time.monotonic()

    def __call__(self, epoch, seen, history):
        now, last = time.monotonic(), seen == self.images
        live = sys.stderr.isatty()
        if not last and (not live or now - self.shown < 0.2):
            return
        self.shown = now
        done = epoch * self.images + seen
        speed = (done - self.first_epoch * self.images) / (now - self.begun)
        minutes, seconds = divmod(round((self.epochs * self.images - done) / speed), 60)
        loss, rate, distortion = np.mean(history[-100:], axis=0)
        print(f"epoch {epoch + 1}/{self.epochs} {seen / self.images:4.0%}  {speed:5.0f} images/s  loss {loss:7.2f}  "
              f"rate {rate:6.2f} bits  distortion {distortion:.4f}  {minutes}:{seconds:02} left",
              end="\r" if live and not last else "\n", file=sys.stderr, flush=True)
