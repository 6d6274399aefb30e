"""Training: minimise rate + lmbda · distortion (model.py), in bits an image, with Adam."""
import math

import numpy as np

from .model import as_pixels, loss_and_gradients

# Multiples of the learning rate, by trial. A step of Adam moves each weight by the learning rate or
# less, as a rule. A latent is a sum over many weights, so its mean and spread move further than
# any of them. The prior's μ and log σ are one parameter each, and must follow that mean and spread.
SPEED = {"prior.mu": 20, "prior.log_sigma": 20}


def adam_step(p, g, m, v, t, learning_rate, beta1=0.9, beta2=0.99, epsilon=1e-7):
    """Step t = 1, 2, … of Adam (Kingma & Ba 2015, algorithm 1), in place: p is a parameter, g the
    loss's gradient for p; m and v are like p, at first 0. (The paper's β₂ = 0.999 does as well.)"""
    m += (1 - beta1) * (g - m)                     # running means of g and g²
    v += (1 - beta2) * (g**2 - v)
    # Bias correction: in m, the g of s steps ago has the weight (1 − β₁) β₁ˢ. These add up to
    # 1 − β₁ᵗ; the rest is the weight of the 0 at first. Divided by 1 − β₁ᵗ, m is a mean of g alone.
    m_hat = m / (1 - beta1**t)
    v_hat = v / (1 - beta2**t)                     # likewise
    # m̂ and √v̂ both scale with g. So a step is about the learning rate if g is steady, whatever its
    # size, and less if its sign changes. (epsilon: no 0/0.)
    p -= learning_rate * m_hat / (np.sqrt(v_hat) + epsilon)


def schedule(step, steps, lmbda, learning_rate):
    """-> (learning rate, weight of the rate) for step = 0 … steps − 1.

    The learning rate falls to 0 in a straight line (Defazio et al. 2023). For lmbda below 2000, the
    rate is warmed up: else bits would win at first, and latents become constant before g_s has
    learned to use them. Then g_s would learn to ignore them, and they would stay constant. So in
    the first 10 % of steps the weight goes from lmbda/2000 to 1. At step 0 the loss is lmbda/2000 ·
    (rate + 2000 · distortion). Adam cancels a factor of the loss, which multiplies m̂ and √v̂ alike.
    So such a training begins as if lmbda were 2000. (2000 and 10 % are by trial.)"""
    first = min(1, lmbda / 2000)
    rate_weight = min(1, first + (1 - first) * step / (0.1 * steps))
    return learning_rate * (1 - step / steps), rate_weight


def batches(images, batch, latent_dims, rng):
    """One epoch, batch by batch: uint8 (b, 28, 28) in random order, and noise (latent_dims, b)."""
    order = rng.permutation(len(images))
    for start in range(0, len(images), batch):
        x = images[order[start:start + batch]]
        yield x, rng.random((latent_dims, len(x)), np.float32) - np.float32(0.5)


def train_plainly(model, images, lmbda, epochs, batch, learning_rate, seed):
    """The training. (If the model is a codec, call its fix_sigma afterwards, see codec.py.) Users
    call `tinycodec.train` (batch 128, learning_rate 4e-3): faster, with sums in another order."""
    rng = np.random.default_rng(seed)
    m = {name: np.zeros_like(p) for name, p in model.params.items()}
    v = {name: np.zeros_like(p) for name, p in model.params.items()}
    t, steps = 0, epochs * math.ceil(len(images) / batch)
    for _ in range(epochs):
        for x, noise in batches(images, batch, model.latent_dims, rng):
            step_size, rate_weight = schedule(t, steps, lmbda, learning_rate)
            _, grads = loss_and_gradients(model, as_pixels(x), noise, lmbda, "mae", rate_weight)
            t += 1                             # Adam counts from 1
            for name, p in model.params.items():
                adam_step(p, grads[name], m[name], v[name], t, SPEED.get(name, 1) * step_size)
