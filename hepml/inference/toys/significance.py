"""Discovery significance from toy data sets, where asymptotic formulae cannot be trusted.

p = P(q₀ ≥ q | µ = 0), with q the median of q₀ at µ = 1. Toys are drawn at µ = 1 and weighted by how
much less likely they are without signal (importance sampling), so that ten thousand of them
determine a p-value of five standard deviations as well as one of two. The parameters without signal
are those that fit the µ = 1 Asimov data best (as in arXiv:1007.1727, section 3): from there the
µ = 1 Asimov data are the likeliest way to a q₀ as large as theirs.

Toys come in blocks, each with a generator of its own: how they are dealt to jobs changes nothing.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import xlogy
from scipy.stats import norm

from hepml.inference.counting import li_ma_significance
from hepml.inference.likelihood import BinnedLikelihood, best_fit
from hepml.inference.model import Model
from hepml.inference.toys.fits import discovery_q, draw

BLOCK = 1000  # toys that share a generator


@dataclass(frozen=True)
class Toys:
    """Test statistic of toys drawn at µ = 1, and logarithms of their weights without signal."""

    q: Float[np.ndarray, " toys"]
    log_weight: Float[np.ndarray, " toys"]


@dataclass(frozen=True)
class ToySignificance:
    """Median expected significance from toys.

    Attributes:
        value: Z of p; 0 where more than half of all experiments without signal look like it.
        error: from the number of toys; that of the median is in it.
        p_value: P(q₀ ≥ median at µ = 1 | µ = 0).
        p_value_error: of the p-value at this median.
        toys: how many were drawn.
    """

    value: float
    error: float
    p_value: float
    p_value_error: float
    toys: int


def draw_binned(model: Model, toys: int, seed: int, block: int) -> Toys:
    """Toys of the binned fit.

    Args:
        model: what is expected; one set.
        toys: how many.
        seed: of the analysis.
        block: number of the block; with the seed it sets the generator.
    """
    rng = np.random.default_rng((seed, block, 0))
    data = draw(model, 1.0, toys, rng)
    likelihood = BinnedLikelihood(model, model.asimov)
    without = best_fit(likelihood, 0.0)
    gamma, background = likelihood.background(without)
    weight = _log_poisson_ratio(data.counts, background, model.asimov).sum(axis=1)
    error = np.where(model.relative_error > 0, model.relative_error, 1.0)
    pulls = (data.gamma - gamma) / error, (data.gamma - 1) / error
    moved = (pulls[1] ** 2 - pulls[0] ** 2) * (model.relative_error > 0)
    weight += moved.sum(axis=1) / 2
    weight += (data.alpha**2 - (data.alpha - without[:, 1:]) ** 2).sum(axis=1) / 2
    return Toys(discovery_q(model, data), weight)


def draw_on_off(
    on: tuple[float, float], exposure_ratio: float, toys: int, seed: tuple[int, int]
) -> Toys:
    """Toys of counting with an auxiliary count, n ~ Poisson(µs + b) and m ~ Poisson(τb).

    Args:
        on: signal s and background b > 0 expected.
        exposure_ratio: τ; infinite for a background that is known exactly.
        toys: how many.
        seed: of the analysis, and number of the block.
    """
    rng = np.random.default_rng((*seed, 1))
    s, b = on
    n = rng.poisson(s + b, toys).astype(float)
    if np.isinf(exposure_ratio):
        known = np.where(n > b, 2 * (xlogy(n, n / b) - n + b), 0.0)
        return Toys(np.maximum(known, 0.0), _log_poisson_ratio(n, b, s + b))
    tau = np.full(toys, exposure_ratio)
    m = rng.poisson(exposure_ratio * b, toys).astype(float)
    fitted = (s + b + exposure_ratio * b) / (1 + exposure_ratio)
    weight = _log_poisson_ratio(n, fitted, s + b)
    weight += _log_poisson_ratio(m, exposure_ratio * fitted, exposure_ratio * b)
    none = n + m == 0
    z = li_ma_significance(np.where(none, 1.0, n), np.where(none, 1.0, m), tau)
    return Toys(np.where(none, 0.0, np.maximum(z, 0.0) ** 2), weight)


def blocks(toys: int) -> list[int]:
    """Sizes of the blocks that make up so many toys."""
    return [min(BLOCK, toys - done) for done in range(0, toys, BLOCK)]


def merged(parts: list[Toys]) -> Toys:
    """All blocks in their order."""
    return Toys(
        np.concatenate([part.q for part in parts]),
        np.concatenate([part.log_weight for part in parts]),
    )


def toy_significance(toys: Toys) -> ToySignificance:
    """Z of the median q₀, and its error.

    The error has two parts: that of p at a given median, and that of the median, for which √q₀
    stands.
    """
    median = float(np.median(toys.q))
    p, error = tail_probability(toys, median)
    value = max(float(norm.isf(min(p, 1.0))), 0.0)
    density = float(norm.pdf(value))
    of_p = error / density if density > 0 else 0.0
    # the median of N values lies between the quantiles 1/2 ± 1/(2√N) in 68 % of all cases
    share = 0.5 / np.sqrt(len(toys.q))
    low, high = np.sqrt(np.quantile(toys.q, [0.5 - share, 0.5 + share]))
    return ToySignificance(value, float(np.hypot(of_p, (high - low) / 2)), p, error, len(toys.q))


def tail_probability(toys: Toys, q: float) -> tuple[float, float]:
    """P(q₀ ≥ q | µ = 0) and its error; rounding cannot part equal values of q₀."""
    weight = np.where(toys.q >= q - 1e-7 * max(1.0, q), np.exp(toys.log_weight), 0.0)
    return float(weight.mean()), float(weight.std(ddof=1) / np.sqrt(len(weight)))


def on_off_p_value(
    observed: tuple[float, float], exposure_ratio: float, toys: int, seed: int
) -> tuple[float, float]:
    """P(q₀ ≥ that of n on and m off events | no signal) by plain toys, and its binomial error.

    The background is the best fit without signal.

    Args:
        observed: n and m.
        exposure_ratio: τ.
        toys: how many.
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    n, m = observed
    fitted = (n + m) / (1 + exposure_ratio)
    on, off = (rng.poisson(mean, toys).astype(float) for mean in (fitted, exposure_ratio * fitted))
    none = on + off == 0
    tau = np.full(toys, exposure_ratio)
    z = np.where(none, 0.0, li_ma_significance(on + none, off + none * exposure_ratio, tau))
    seen = li_ma_significance(np.array([n]), np.array([m]), tau[:1])[0]
    p = float(np.mean(z >= seen - 1e-9))
    return p, float(np.sqrt(p * (1 - p) / toys))


def _log_poisson_ratio(
    count: Float[np.ndarray, "..."],
    mean: Float[np.ndarray, "..."] | float,
    drawn: Float[np.ndarray, "..."] | float,
) -> Float[np.ndarray, "..."]:
    """Ln of the probability of a count at one mean over that at the mean it was drawn with."""
    return np.asarray(xlogy(count, mean / drawn) - mean + drawn)
