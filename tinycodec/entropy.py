"""The entropy model: what does a latent cost in bits, and how does that cost change with it?

A symbol of probability p costs −log₂ p bits (Shannon 1948). If a rounded latent has distribution q,
its mean cost is Σ q log₂(1/p) = Σ q log₂(1/q) + Σ q log₂(q/p): entropy of q, plus KL(q‖p) ≥ 0, the
price of a wrong prior p. In training, g_a lowers both terms, and μ and σ the second.

Rounding has gradient 0 almost everywhere. So training adds noise as wide as a rounding error
instead: ỹ = y + u, u ~ U(−½, ½) (Ballé, Laparra & Simoncelli 2017).

The prior supposes that a latent y is N(μ, σ²) over the images, with density f and cdf F. Then the
density of ỹ = y + u is the convolution of f and u's density, which is 1 within ½ of 0:

    p(ỹ) = ∫ f(ỹ − u) du  over |u| < ½
         = ∫ f(s) ds      over |s − ỹ| < ½        (s = ỹ − u)
         = F(ỹ + ½) − F(ỹ − ½)

In coding, exactly the y within ½ of ŷ = μ + k are rounded to ŷ (codec.py). So, by the prior, k has
the probability F(ŷ + ½) − F(ŷ − ½) = p(ŷ): one formula serves as density and as probability.

A latent that is always μ gets σ → 0. Then p = 1 within ½ of μ, where ỹ always is: 0 bits.

Why does g_a not make latents so large that noise is nothing to them? σ must grow with them, and
each doubling costs a bit (for large σ): twice as many integers, each half as probable."""
import numpy as np
from scipy.special import erfcx, log_ndtr, ndtr


def probability(y_tilde, mu, sigma):
    """p(ỹ) = Φ((ỹ − μ + ½)/σ) − Φ((ỹ − μ − ½)/σ), where Φ (SciPy's ndtr) is the cdf of N(0, 1).

    It fails far to the right, where Φ is near 1. For ỹ = 9, with μ = 0 and σ = 1, it is 1 − 1 in
    float64, not 2^−56.55: infinitely many bits, no gradient, and the end of the training.

    >>> p = probability(np.array([0, 1, 9]), mu=0, sigma=1)
    >>> p[:2].round(3).tolist(), (-np.log2(p[:2])).round(2).tolist(), p[2].item()
    ([0.383, 0.242], [1.38, 2.05], 0.0)"""
    return ndtr((y_tilde - mu + 0.5) / sigma) - ndtr((y_tilde - mu - 0.5) / sigma)


class NoisyGaussian:
    """−log₂ of `probability`, accurate in both tails: ỹ (d, n) -> bits (d, n).

    The Gaussian is symmetric: p depends on z = |ỹ − μ| alone. So replace ỹ by μ − z: itself if
    left of μ, else its mirror image. Far out, both Φ are near 0 then, where floats are dense:

              p (area under φ)       a = (−½ − z)/σ
        ──┬───────┬────────┬──▶      b = (½ − z)/σ      (b > 0 if z < ½)
          a       b        0         p = Φ(b) − Φ(a)

    From 38 σ on, even these Φ are 0 in float64. So take (natural) logarithms; SciPy has log Φ:

        log p = log r + log Φ(b),    r = p/Φ(b) = 1 − Φ(a)/Φ(b) = 1 − e^(log Φ(a) − log Φ(b))."""

    def __init__(self, d, dtype=np.float32):
        self.params = {"mu": np.zeros(d, dtype), "log_sigma": np.zeros(d, dtype)}   # σ > 0

    def forward(self, y_tilde):
        mu = self.params["mu"].astype(np.float64)[:, None]       # float32 would lose b − a = 1/σ
        sigma = np.exp(self.params["log_sigma"].astype(np.float64))[:, None]
        z = np.abs(y_tilde - mu)
        a, b = (-0.5 - z) / sigma, (0.5 - z) / sigma
        log_cdf_b = log_ndtr(b)
        r = -np.expm1(log_ndtr(a) - log_cdf_b)             # expm1(x) = e^x − 1, accurate near 0
        bits = -(log_cdf_b + np.log(r)) / np.log(2)
        return bits.astype(y_tilde.dtype), (y_tilde - mu, z, sigma, a, b, r)

    def backward(self, dbits, cache):
        """Φ' = φ, N(0, 1)'s density, φ(x) = e^(−x²/2)/√(2π). So ∂p = φ(b) ∂b − φ(a) ∂a, where
        ∂a/∂z = ∂b/∂z = −1/σ, ∂a/∂log σ = −a, ∂b/∂log σ = −b. Let h = φ(b)/p, t = φ(a)/φ(b). Then

            −∂log p/∂z     = (φ(b) − φ(a))/(σ p)  = h (1 − t)/σ
            −∂log p/∂log σ = (b φ(b) − a φ(a))/p  = h (b − t a).

        Far out, φ and p are 0 in float64, and h is 0/0. But h and t can be had without them:

            t = e^((b² − a²)/2) = e^(−z/σ²)         as a² − b² = 2z/σ²
            h = φ(b)/Φ(b)/r                         as p = r Φ(b)
            φ(b)/Φ(b) = √(2/π)/erfcx(−b/√2)         as Φ(b) = ½ (1 − erf(−b/√2)),

        where SciPy's erfcx(x) is e^(x²) (1 − erf x), so that e^(−b²/2) cancels in φ(b)/Φ(b)."""
        centred, z, sigma, a, b, r = cache     # centred = ỹ − μ, z its absolute value
        t, one_minus_t = np.exp(-z / sigma**2), -np.expm1(-z / sigma**2)
        h = np.sqrt(2 / np.pi) / erfcx(-b / np.sqrt(2)) / r      # φ(b)/p; 0 if erfcx is ∞
        dnats = dbits / np.log(2)              # ∂L/∂(−log p), as bits are −log p/log 2
        dy_tilde = dnats * np.sign(centred) * h * one_minus_t / sigma        # sign = ∂z/∂ỹ = −∂z/∂μ
        grads = {"mu": -dy_tilde.sum(axis=1), "log_sigma": (dnats * h * (b - t * a)).sum(axis=1)}
        return dy_tilde.astype(dbits.dtype), {k: g.astype(dbits.dtype) for k, g in grads.items()}
