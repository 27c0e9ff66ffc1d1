"""Significance of counting experiments, on arrays of them.

s, b are expected signal and background events, σ the absolute uncertainty of b, n observed events.
Z and one-sided p-value are tied by p = 1 - Φ(Z). The references are arXiv:1007.1727 (known b),
G. Cowan, "Discovery sensitivity for a counting experiment with background uncertainty" (2012),
Li and Ma, ApJ 272 (1983) 317, Cousins, Linnemann and Tucker, arXiv:physics/0702156, and for few
events the exact Asimov p-value of arXiv:2009.07249.
"""

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import (
    betainc,
    gammainc,
    gammainccinv,
    gammaincinv,
    log_ndtr,
    ndtr,
    ndtri,
    xlog1py,
    xlogy,
)


def asimov_significance(
    signal: Float[np.ndarray, "*bins"],
    background: Float[np.ndarray, "*bins"],
    uncertainty: Float[np.ndarray, "*bins"] | None = None,
) -> Float[np.ndarray, "*bins"]:
    """Median discovery significance of each bin, from the likelihood ratio on Asimov data.

    Without uncertainty Eq. (97) of arXiv:1007.1727, Z² = 2b h(s/b) with h(x) = (1+x) ln(1+x) - x.
    With it, b is measured by an auxiliary Poisson count of relative error σ/b (Cowan 2012); his
    formula equals Z² = 2[b h(s/b) - h(c s)/c] with c = σ²/(b(b+σ²)), which does not cancel for
    s ≪ b. It is exactly Li and Ma's at n_on = s+b, n_off = τb, τ = b/σ². Bins whose uncertainties
    are independent combine in quadrature.

    Args:
        signal: expected signal events s > -b.
        background: expected background events b > 0.
        uncertainty: σ ≥ 0 of the background, in events.

    Returns:
        Z per bin in standard deviations; negative where s < 0.

    Raises:
        ValueError: if any bin has no background, where Z is not defined.
    """
    empty = np.flatnonzero(background <= 0)
    if empty.size:
        shown = empty[:5]
        raise ValueError(
            f"asimov_significance: background must be > 0 in every bin, but bins {shown.tolist()} "
            f"hold {background.flat[shown].tolist()}; merge them with a neighbour"
        )
    half_square = background * entropy_excess(np.asarray(signal / background))
    if uncertainty is not None:
        curvature = uncertainty**2 / (background * (background + uncertainty**2))
        known = curvature == 0
        divisor = np.where(known, 1.0, curvature)
        nuisance = entropy_excess(np.asarray(curvature * signal)) / divisor
        half_square = half_square - np.where(known, 0.0, nuisance)
    # rounding can leave -1e-17 at s = 0
    return np.asarray(np.sign(signal) * np.sqrt(2 * np.maximum(half_square, 0)))


def asimov_significance_gaussian(
    signal: Float[np.ndarray, "*bins"],
    background: Float[np.ndarray, "*bins"],
    uncertainty: Float[np.ndarray, "*bins"],
) -> Float[np.ndarray, "*bins"]:
    """As :func:`asimov_significance`, the background constrained by a Gaussian of width σ.

    That is HistFactory's ``staterror`` of one bin. Without signal the best background is the
    positive root of b² - (b₀ - σ²) b - σ² n = 0 for n = s + b₀.

    Args:
        signal: expected signal events s ≥ 0.
        background: expected background events b₀ > 0.
        uncertainty: σ ≥ 0 of the background, in events.
    """
    data, variance = signal + background, uncertainty**2
    difference = background - variance
    fitted = (difference + np.sqrt(difference**2 + 4 * variance * data)) / 2
    pull = np.divide(
        fitted - background, uncertainty, out=np.zeros_like(fitted), where=uncertainty > 0
    )
    half_square = fitted * entropy_excess(np.asarray((data - fitted) / fitted)) + pull**2 / 2
    return np.asarray(np.sqrt(2 * np.maximum(half_square, 0)))


def entropy_excess(x: Float[np.ndarray, "*bins"]) -> Float[np.ndarray, "*bins"]:
    """(1+x) ln(1+x) - x ≥ 0 for x ≥ -1, by its series where the difference would cancel."""
    small = np.abs(x) < 1e-3
    y = np.where(small, x, 0.0)
    series = y**2 * (1 / 2 - y * (1 / 6 - y * (1 / 12 - y * (1 / 20 - y * (1 / 30 - y / 42)))))
    return np.asarray(np.where(small, series, xlog1py(1 + x, x) - x))


def li_ma_significance(
    on: Float[np.ndarray, "*bins"],
    off: Float[np.ndarray, "*bins"],
    exposure_ratio: Float[np.ndarray, "*bins"],
) -> Float[np.ndarray, "*bins"]:
    """Significance of an on/off measurement, Li and Ma's Eq. (17).

    Args:
        on: events where signal may be.
        off: events of background alone.
        exposure_ratio: τ = expected off / expected background among on; Li and Ma's α is 1/τ.

    Returns:
        Z per measurement, negative for a deficit.
    """
    alpha = 1 / exposure_ratio
    total = on + off
    log_ratio = xlogy(on, (1 + alpha) / alpha * on / total) + xlogy(off, (1 + alpha) * off / total)
    return np.asarray(np.sign(on - alpha * off) * np.sqrt(2 * np.maximum(log_ratio, 0)))


def binomial_p_value(
    on: Float[np.ndarray, "*bins"],
    off: Float[np.ndarray, "*bins"],
    exposure_ratio: Float[np.ndarray, "*bins"],
) -> Float[np.ndarray, "*bins"]:
    """Exact on/off p-value, whose significance is called Z_Bi (arXiv:physics/0702156, Eq. 14).

    Given on + off events, those in "on" are binomial with probability 1/(1+τ).

    Args:
        on: events where signal may be.
        off: events of background alone.
        exposure_ratio: τ > 0.

    Returns:
        P(at least this many "on" events | no signal); 1 where there are none.
    """
    tail = betainc(np.where(on > 0, on, 1.0), off + 1, 1 / (1 + exposure_ratio))
    return np.asarray(np.where(on > 0, tail, 1.0))


def poisson_p_value(
    count: Float[np.ndarray, "*bins"], background: Float[np.ndarray, "*bins"]
) -> Float[np.ndarray, "*bins"]:
    """P(N ≥ n | b) for an exactly known background.

    The regularised incomplete gamma function, which also takes the s + b of an Asimov data set
    (arXiv:2009.07249).

    Args:
        count: observed (or expected) events n ≥ 0.
        background: b > 0.

    Returns:
        p per bin.
    """
    tail = gammainc(np.where(count > 0, count, 1.0), background)
    return np.asarray(np.where(count > 0, tail, 1.0))


def p_value(significance: Float[np.ndarray, "*bins"]) -> Float[np.ndarray, "*bins"]:
    """One-sided tail probability of a standard normal beyond Z."""
    return np.asarray(ndtr(-significance))


def significance_of(p: Float[np.ndarray, "*bins"]) -> Float[np.ndarray, "*bins"]:
    """The Z whose one-sided tail probability is p; the inverse of :func:`p_value`."""
    return np.asarray(-ndtri(p))


def exact_significance(
    signal: Float[np.ndarray, "*bins"], background: Float[np.ndarray, "*bins"]
) -> Float[np.ndarray, "*bins"]:
    """Z of the exact Poisson p-value of s + b events, b known exactly (arXiv:2009.07249).

    Where few events are expected the asymptotic formulae give more than this. Infinite where the
    p-value is too small for a number.
    """
    return significance_of(poisson_p_value(signal + background, background))


def extra_data_fraction(significance: float, baseline: float) -> float:
    """How much more data the baseline would need to reach a significance, if Z grows as √L.

    The last column of Table 1 in Radovic et al., Nature 560 (2018) 41: (Z/Z₀)² - 1.
    """
    return (significance / baseline) ** 2 - 1


def p_value_ratio(significance: float, baseline: float) -> float:
    """Baseline's p-value over the other's: by how much less likely the background looks.

    Infinite if the smaller p-value is too small to be divided by.
    """
    with np.errstate(over="ignore"):
        return float(np.exp(log_ndtr(-baseline) - log_ndtr(-significance)))


def garwood_interval(
    count: Shaped[np.ndarray, " bins"], level: float = 0.6826894921370859
) -> Float[np.ndarray, "2 bins"]:
    """Central confidence interval of a Poisson mean (Garwood, Biometrika 28 (1936) 437).

    Args:
        count: observed events, ≥ 0.
        level: confidence level.

    Returns:
        Lower and upper ends; the lower is 0 where nothing was observed.
    """
    tail = (1 - level) / 2
    # quantiles of χ² with 2n and 2n + 2 degrees of freedom, halved
    lower = gammaincinv(np.where(count > 0, count, 1), tail)
    return np.stack([np.where(count > 0, lower, 0.0), gammainccinv(count + 1, tail)])
