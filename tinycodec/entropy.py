"""The entropy model: what does a latent cost in bits, and how does that cost change?

Rounding has no useful gradient, so training adds noise u ~ U(−½, ½) instead: ỹ = y + u (Ballé,
Laparra & Simoncelli 2017, "End-to-end optimized image compression"). The prior of a latent is a
Gaussian, and the density of Gaussian + uniform noise at ỹ is the mass that the Gaussian puts on
the unit interval around ỹ,

    p(ỹ) = Φ((ỹ − μ + ½)/σ) − Φ((ỹ − μ − ½)/σ).

The same formula gives the probability of a latent once it is rounded, be it to an integer or to any
other grid of step 1 (see the offset in tinycodec.codec), which is why the rate in training predicts
the size of the file.
"""
import numpy as np
from scipy.special import erfcx, log_ndtr

LN2 = np.log(2)


class NoisyGaussian:
    """Gaussian + U(−½, ½), one μ and one log σ per latent: ỹ (d, n) -> bits −log₂ p(ỹ), (d, n).

    With z = |ỹ − μ|, b = (½ − z)/σ, a = b − 1/σ and by symmetry, p = Φ(b) − Φ(a): the
    interval is moved to the left tail, where log Φ is accurate at any depth, so

        log p = log Φ(b) + log r,    r = 1 − Φ(a)/Φ(b) = 1 − exp(log Φ(a) − log Φ(b)).

    For the gradient, with φ = Φ' and (b² − a²)/2 = −z/σ², hence φ(a) = φ(b) e^(−z/σ²),

        −∂log p/∂z     = (φ(b) − φ(a))/(σ p)   = φ(b)/p · (1 − e^(−z/σ²))/σ
        −∂log p/∂log σ = (b φ(b) − a φ(a))/p   = φ(b)/p · (b (1 − e^(−z/σ²)) + e^(−z/σ²)/σ),

    where φ(b)/p = φ(b)/Φ(b)/r, and φ(b)/Φ(b) = √(2/π)/erfcx(−b/√2) is tame in both tails.
    Computed in float64 whatever the input's dtype, which is returned: a large σ makes p a small
    difference of equal numbers.
    """

    def __init__(self, d, dtype=np.float32):
        self.params = {"mu": np.zeros(d, dtype), "log_sigma": np.zeros(d, dtype)}

    def forward(self, y):
        mu, log_sigma = (self.params[name].astype(np.float64)[:, None]
                         for name in ("mu", "log_sigma"))
        sigma = np.exp(log_sigma)
        z = np.abs(y - mu)
        b = (0.5 - z) / sigma
        log_cdf = log_ndtr(b)
        r = -np.expm1(log_ndtr(b - 1 / sigma) - log_cdf)
        return (-(log_cdf + np.log(r)) / LN2).astype(y.dtype), (y, mu, sigma, z, b, r)

    def backward(self, dbits, cache):
        y, mu, sigma, z, b, r = cache
        scale = np.sqrt(2 / np.pi) / erfcx(-b / np.sqrt(2)) / r * dbits / LN2      # φ(b)/p · dL/dbits / ln 2
        lost = -np.expm1(-z / sigma**2)                                            # 1 − e^(−z/σ²)
        dy = np.sign(y - mu) * scale * lost / sigma
        dlog_sigma = scale * (b * lost + (1 - lost) / sigma)
        grads = {"mu": -dy.sum(axis=1), "log_sigma": dlog_sigma.sum(axis=1)}
        return dy.astype(y.dtype), {name: g.astype(y.dtype) for name, g in grads.items()}
