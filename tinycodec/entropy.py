"""The entropy model: what does a latent cost in bits, and how does that cost change with it?

A symbol of probability p costs −log₂ p bits (Shannon 1948). Averaged over images this rate is a
cross-entropy, H(q) + KL(q‖p): the entropy of the latents, whose distribution is q, and the
Kullback–Leibler divergence to the prior p. Minimising it fits latents and prior to each other.

Rounding has no useful gradient, so training adds noise as wide as a rounding error instead:
ỹ = y + u, u ~ U(−½, ½) (Ballé, Laparra & Simoncelli 2017). The density of Gaussian + noise at ỹ is
the Gaussian's mass within ½ of ỹ. If ỹ is an integer, that is just what rounds to it: its
probability. So the rate in training estimates the size of the file.
"""
import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr


def probability(y, mu, sigma):
    """p(ỹ) = Φ((ỹ − μ + ½)/σ) − Φ((ỹ − μ − ½)/σ): the Gaussian's mass within ½ of ỹ.

    With μ = 0 and σ = 1, the integer 0 costs −log₂ 0.383 = 1.385 bits and 1 costs 2.05 bits. But 9
    costs infinitely many, and has no gradient: Φ(9.5) − Φ(8.5) is 1 − 1 in float64, where the truth
    is 56.55 bits. Latents do lie that far out, at the start of a training.

    >>> [float(probability(k, 0, 1).round(3)) for k in (0, 1, 9)]
    [0.383, 0.242, 0.0]
    """
    return ndtr((y - mu + 0.5) / sigma) - ndtr((y - mu - 0.5) / sigma)


class NoisyGaussian:
    """−log₂ of `probability`, accurate in both tails, however far: ỹ (d, n) -> bits (d, n).

    Each latent has its μ and log σ. By symmetry the interval may lie in the left tail, where log Φ
    is accurate at any depth: with z = |ỹ − μ|,

              p                      a = (−½ − z)/σ = b − 1/σ
        ──┬───────┬────────┬──▶      b = (½ − z)/σ          (drawn for z > ½)
          a       b        0         p = Φ(b) − Φ(a)

        log p = log Φ(b) + log r,    r = 1 − Φ(a)/Φ(b) = 1 − exp(log Φ(a) − log Φ(b)).

    For the gradient, let φ = Φ' and t = e^(−z/σ²). Then φ(a) = t φ(b), as (b² − a²)/2 = −z/σ², and

        −∂log p/∂z     = (φ(b) − φ(a))/(σ p)     = h (1 − t)/σ,                   h = φ(b)/p
        −∂log p/∂log σ = (b φ(b) − a φ(a))/p     = h (b (1 − t) + t/σ).

    h = φ(b)/(Φ(b) r), where φ(b)/Φ(b) = √(2/π)/erfcx(−b/√2) neither overflows nor cancels. All is
    computed in float64, whatever the input's dtype: with a large σ, p is a small difference.
    """

    def __init__(self, d, dtype=np.float32):
        self.params = {"mu": np.zeros(d, dtype), "log_sigma": np.zeros(d, dtype)}

    def forward(self, y):
        mu = self.params["mu"].astype(np.float64)[:, None]
        sigma = np.exp(self.params["log_sigma"].astype(np.float64))[:, None]
        z = np.abs(y - mu)
        b = (0.5 - z) / sigma
        a = b - 1 / sigma
        log_cdf_b = log_ndtr(b)
        r = -np.expm1(log_ndtr(a) - log_cdf_b)
        bits = -(log_cdf_b + np.log(r)) / np.log(2)
        return bits.astype(y.dtype), (y, mu, sigma, z, b, r)

    def backward(self, dbits, cache):
        y, mu, sigma, z, b, r = cache
        h = np.sqrt(2 / np.pi) / erfcx(-b / np.sqrt(2)) / r
        dh = h * dbits / np.log(2)             # in bits, not nats
        t = np.exp(-z / sigma**2)
        one_minus_t = -np.expm1(-z / sigma**2)
        dy = np.sign(y - mu) * dh * one_minus_t / sigma
        dlog_sigma = dh * (b * one_minus_t + t / sigma)
        grads = {"mu": -dy.sum(axis=1), "log_sigma": dlog_sigma.sum(axis=1)}
        return dy.astype(y.dtype), {name: g.astype(y.dtype) for name, g in grads.items()}
