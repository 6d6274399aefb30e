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

    Each latent has its μ and log σ. The Gaussian is symmetric, so what counts is z = |ỹ − μ|, and
    the interval may be moved to the left tail, where SciPy's log Φ is accurate at any depth:

              p                      a = (−½ − z)/σ
        ──┬───────┬────────┬──▶      b = (½ − z)/σ          (drawn for z > ½)
          a       b        0         p = Φ(b) − Φ(a)

        log p = log Φ(b) + log r,    r = p/Φ(b) = 1 − exp(log Φ(a) − log Φ(b)).
    """

    def __init__(self, d, dtype=np.float32):
        self.params = {"mu": np.zeros(d, dtype), "log_sigma": np.zeros(d, dtype)}

    def forward(self, y):
        # In float64, whatever the input's dtype: with a large σ, p is a small difference.
        mu = self.params["mu"].astype(np.float64)[:, None]
        sigma = np.exp(self.params["log_sigma"].astype(np.float64))[:, None]
        z = np.abs(y - mu)
        a, b = (-0.5 - z) / sigma, (0.5 - z) / sigma
        log_cdf_b = log_ndtr(b)
        r = -np.expm1(log_ndtr(a) - log_cdf_b)
        bits = -(log_cdf_b + np.log(r)) / np.log(2)
        return bits.astype(y.dtype), (y - mu, z, sigma, a, b, r)

    def backward(self, dbits, cache):
        """With Φ' = φ, the density of N(0, 1), the chain rule through a and b gives

            −∂log p/∂z     = (φ(b) − φ(a))/(σ p)  = h (1 − t)/σ
            −∂log p/∂log σ = (b φ(b) − a φ(a))/p  = h (b − t a)

        where h = φ(b)/p and t = φ(a)/φ(b) = e^((b² − a²)/2) = e^(−z/σ²). In the tails φ(a), φ(b)
        and p are 0 in float64, but t and h are not: h = φ(b)/(Φ(b) r), and φ(b)/Φ(b) is
        √(2/π)/erfcx(−b/√2), with SciPy's erfcx(x) = e^(x²) (1 − erf x).
        """
        centred, z, sigma, a, b, r = cache
        t, one_minus_t = np.exp(-z / sigma**2), -np.expm1(-z / sigma**2)
        h = np.sqrt(2 / np.pi) / erfcx(-b / np.sqrt(2)) / r
        h = h * dbits / np.log(2)              # in bits, not nats
        dy = np.sign(centred) * h * one_minus_t / sigma
        grads = {"mu": -dy.sum(axis=1), "log_sigma": (h * (b - t * a)).sum(axis=1)}
        return dy.astype(dbits.dtype), {name: g.astype(dbits.dtype) for name, g in grads.items()}
