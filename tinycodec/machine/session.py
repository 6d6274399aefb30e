"""What a training has around it: threads, a checkpoint, a line of progress, and a fast Adam."""
import sys
import time
from contextlib import contextmanager, suppress

import numpy as np

from ..files.checkpoint import Checkpoint
from ..model import loss_and_gradients
from . import default_threads, workers
from .pixels import as_pixels, check_images


@contextmanager
def session(codec, images, rng, speed, settings, threads, progress, checkpoint):
    """-> Session. `settings` are the arguments of `train` that decide its course, `speed` is Adam's."""
    images = check_images(images)
    check_options(images, threads, **settings)
    run = Session(codec, images, rng, Adam(codec.params, speed), settings, progress, checkpoint)
    try:
        with workers(threads or default_threads()) as run.on_threads:
            yield run
    finally:
        codec.fix_sigma()


class Session:
    """What each step of a training needs: `loss_and_gradients` and `adam_step` on threads, and `record`."""

    def __init__(self, codec, images, rng, adam, settings, progress, checkpoint):
        self.images, self.adam, self.steps_an_epoch = images, adam, -(-len(images) // settings["batch"])
        self.steps = settings["epochs"] * self.steps_an_epoch
        self.checkpoint = checkpoint and Checkpoint(checkpoint, codec, images, adam, rng, settings)
        self.history = self.checkpoint.restore(self.steps) if checkpoint else []        # (loss, rate, distortion) of each step
        self.report = progress and Progress(len(self.history), self.steps, self.steps_an_epoch)

    def loss_and_gradients(self, codec, images, noise, lmbda, distortion, rate_weight):
        """-> (loss, rate, distortion), and gradients for `adam_step`. Raises FloatingPointError if they are not finite."""
        terms, shards = in_shards(codec, images, noise, lmbda, distortion, rate_weight, self.on_threads)
        if not np.isfinite(terms).all():
            raise FloatingPointError(f"the loss is {terms[0]} at step {len(self.history) + 1}: "
                                     "a lower learning_rate or lmbda may help")
        return terms, shards

    def adam_step(self, shards, learning_rate):
        self.adam.update(shards, learning_rate, self.on_threads)

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


def check_options(images, threads, distortion, seed, **numbers):
    if not len(images):
        raise ValueError("expected at least one image to train on, got none")
    if distortion not in ("mae", "mse"):
        raise ValueError(f"expected distortion 'mae' or 'mse', got {distortion!r}")
    for name, value in {**numbers, "threads": threads or 1}.items():
        if name in ("lmbda", "learning_rate"):
            if not 0 < value < np.inf:
                raise ValueError(f"expected a positive, finite {name}, got {value!r}")
        elif not (isinstance(value, (int, np.integer)) and value > 0):
            raise ValueError(f"expected {name}, a positive integer, got {value!r}")
