"""What users call: `train_plainly` on threads, with a fast Adam, a checkpoint and a line of progress around it."""
import sys
import time
from contextlib import closing, suppress

import numpy as np

from ..files.checkpoint import Checkpoint
from ..model import as_pixels, loss_and_gradients
from ..training import SPEED, batches, schedule
from . import default_threads, workers
from .checks import check_images, generator


def train(codec, images, lmbda, epochs=15, batch=128, learning_rate=4e-3, distortion="mae", seed=0, threads=None,
          progress=True, checkpoint=None):
    """Train `codec` in place on uint8 images (n, 28, 28): minimise rate + lmbda · distortion.

    `seed` decides the order of the images and the noise. `threads` (default: one per core) changes only how sums are
    rounded. `checkpoint` is a file written at the start and after every epoch. If it exists, training goes on from there,
    and ends exactly as in one go. The arguments must be the same, and the codec as it was at the start.

    Returns the history, arrays with one entry per step: "loss" (as if rate_weight were 1), "rate" in bits, "distortion".
    Raises FloatingPointError if the loss or a weight is not finite, ValueError for wrong arguments, and for a checkpoint
    that other arguments made or another training uses.
    """
    with closing(steps(codec, images, lmbda, epochs, batch, learning_rate, distortion, seed, threads, progress,
                       checkpoint)) as run:
        for history in run:
            pass
    return dict(zip(("loss", "rate", "distortion"), np.array(history).T))


def steps(codec, images, lmbda, epochs, batch, learning_rate, distortion, seed, threads=None, progress=False, checkpoint=None):
    """The arguments are those of `train`. Yields the list of each step's (loss, rate, distortion), before the first step and
    after every one."""
    images = check_images(images)
    settings = dict(lmbda=lmbda, epochs=epochs, batch=batch, learning_rate=learning_rate, distortion=distortion, seed=seed)
    check_options(codec, images, threads, **settings)
    rng = generator(seed)
    run = Session(codec, images, rng, settings, progress, checkpoint)
    try:
        with workers(threads or default_threads()) as on_threads:
            yield run.history
            while len(run.history) < run.steps:            # an epoch each
                for x, noise in batches(images, batch, codec.latent_dims, rng):
                    step_size, rate_weight = schedule(len(run.history), run.steps, lmbda, learning_rate)
                    terms, shards = in_shards(codec, x, noise, lmbda, distortion, rate_weight, on_threads)
                    if not np.isfinite(terms).all():
                        raise FloatingPointError(f"the loss is {terms[0]} at step {len(run.history) + 1}: "
                                                 "a lower learning_rate or lmbda may help")
                    run.adam.update(shards, step_size, on_threads)
                    run.record(terms)
                    yield run.history
    finally:
        codec.fix_sigma()


class Session:
    """What a training keeps between steps, and shows and saves of it."""

    def __init__(self, codec, images, rng, settings, progress, checkpoint):
        self.adam, self.steps_an_epoch = Adam(codec.params, SPEED), -(-len(images) // settings["batch"])
        self.steps = settings["epochs"] * self.steps_an_epoch
        self.checkpoint = checkpoint and Checkpoint(checkpoint, codec, images, self.adam, rng, settings)
        self.history = self.checkpoint.restore(self.steps) if checkpoint else []        # (loss, rate, distortion) of each step
        self.report = progress and Progress(len(self.history), self.steps, self.steps_an_epoch)

    def record(self, terms):
        self.history.append(terms)
        if len(self.history) % self.steps_an_epoch == 0:
            if not all(np.isfinite(p).all() for p, *_ in self.adam.state.values()):
                raise FloatingPointError(f"weights are not finite after step {len(self.history)}")
            if self.checkpoint:                # before the report: an epoch on the screen is safe
                self.checkpoint.save(self.history)
        if self.report:
            with suppress(Exception):          # that a log is full, closed or missing must not end a training
                self.report(self.history)


def in_shards(codec, images, noise, lmbda, distortion, rate_weight, on_threads):
    """As model.loss_and_gradients, of uint8 images, but with the gradients of shards of the batch, one a thread: NumPy
    releases the interpreter lock in its loops and products, and layers keep nothing of a batch.

    The loss is linear in lmbda and in the rate's weight. So each shard gets its share of both, and
    the gradients of all add up to the batch's.
    """
    def shard(part):
        share = len(part) / len(images)
        (_, rate, d), grads = loss_and_gradients(codec, as_pixels(images[part]), noise[:, part],
                                                 share * lmbda, distortion, share * rate_weight)
        return (share * rate, share * d), grads

    parts = np.array_split(np.arange(len(images)), min(on_threads.threads, len(images)))
    terms, grads = zip(*on_threads(shard, parts))
    rate, d = np.sum(terms, axis=0)
    return (rate + lmbda * d, rate, d), grads


class Progress:
    """A line that renews itself on a terminal (of 80 columns, or it would not), a line an epoch elsewhere."""

    def __init__(self, first, steps, steps_an_epoch):
        self.first, self.steps, self.steps_an_epoch = first, steps, steps_an_epoch
        self.begun = self.shown = time.monotonic()

    def __call__(self, history):
        now, step = time.monotonic(), len(history)
        last, live = step % self.steps_an_epoch == 0, getattr(sys.stderr, "isatty", bool)()
        if not last and (not live or now - self.shown < 0.2):
            return
        self.shown = now
        minutes, seconds = divmod(round((now - self.begun) / (step - self.first) * (self.steps - step)), 60)
        epoch, done = divmod(step - 1, self.steps_an_epoch)
        loss, rate, distortion = np.mean(history[-100:], axis=0)
        sys.stderr.write(f"epoch {epoch + 1}/{self.steps // self.steps_an_epoch} {(done + 1) / self.steps_an_epoch:4.0%}  "
                         f"loss {loss:7.2f}  rate {rate:6.2f}  distortion {distortion:.4f}  {minutes:3}:{seconds:02} left"
                         + "\n\r"[live and not last])
        sys.stderr.flush()


class Adam:
    """`training.adam_step` for all parameters, in place and on blocks that stay in the cache: a third of the time.

    M = m/(1 − β₁) and V = v/(1 − β₂) spare two passes; c₁ and c₂ have these factors and the bias correction.
    The shards' gradients are summed up block by block as well, so their sum is never in memory.
    """
    BETA1, BETA2, EPSILON, BLOCK = 0.9, 0.99, 1e-7, 2**17

    def __init__(self, params, speed=None):
        """`params` are arrays by name; `speed` gives some of them a multiple of the learning rate."""
        if not all(p.flags.c_contiguous for p in params.values()):
            raise ValueError("expected parameters in C order, to be updated in place")
        flat = {name: p.reshape(-1) for name, p in params.items()}
        self.state = {name: (p, np.zeros_like(p), np.zeros_like(p)) for name, p in flat.items()}
        self.blocks = [(name, slice(i, i + self.BLOCK)) for name, p in flat.items() for i in range(0, p.size, self.BLOCK)]
        self.speed, self.t = speed or {}, 0

    def update(self, shards, learning_rate, on_threads):
        """Change the parameters in place; the gradient is the sum of the dicts `shards`."""
        self.t += 1
        c1 = (1 - self.BETA1) / (1 - self.BETA1**self.t)
        c2 = (1 - self.BETA2) / (1 - self.BETA2**self.t)

        def update(blocks):
            for name, block in blocks:
                p, M, V = (a[block] for a in self.state[name])
                g, *others = (shard[name].reshape(-1)[block] for shard in shards)
                for other in others:
                    g = g + other
                M *= self.BETA1
                M += g
                step = g * g
                V *= self.BETA2
                V += step
                np.sqrt(V, out=step)
                step += self.EPSILON / c2**0.5
                np.divide(M, step, out=step)
                # A Python float: NumPy's would make the product float64, and slow.
                step *= float(learning_rate * self.speed.get(name, 1) * c1 / c2**0.5)
                p -= step

        n = len(shards)
        on_threads(update, [self.blocks[i::n] for i in range(n)])


def check_options(codec, images, threads, distortion, seed, **numbers):
    if not hasattr(codec, "fix_sigma"):
        raise ValueError(f"expected a codec, got one {type(codec).__name__}")
    if not len(images):
        raise ValueError("expected at least one image to train on, got none")
    if distortion not in ("mae", "mse"):
        raise ValueError(f"expected distortion 'mae' or 'mse', got {distortion!r}")
    for name, value in {**numbers, "threads": threads or 1}.items():
        if name in ("lmbda", "learning_rate"):
            try:
                right = 0 < value < np.inf
            except (TypeError, ValueError):                # not one number
                right = False
            if not right:
                raise ValueError(f"expected a positive, finite {name}, got {value!r}")
        elif not (isinstance(value, (int, np.integer)) and value > 0):
            raise ValueError(f"expected {name}, a positive integer, got {value!r}")
