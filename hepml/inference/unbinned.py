"""The unbinned fit: every event counts with its own likelihood ratio.

With r(x) = p(x|S)/p(x|B) the extended likelihood is, but for constants,

    -2 ln L(µ, α) = 2 [µS + κ(α)B - Σ_i w_i ln(µ S r_i + κ(α) B)] + α²

(the density ratio form of arXiv:1506.02169, Eq. 5, with a normalisation κ of the background as in
:mod:`hepml.inference.likelihood`). It is evaluated for many data sets at once; "cells" are events,
or narrow slices of r that hold many.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from hepml.inference.likelihood import BackgroundScale

_STEPS = 60  # of Newton's method at most
_PRECISION = 1e-10  # of µ and α
_LEAST = 1e-300  # of a density that a negative µ would empty


@dataclass(frozen=True)
class Data:
    """Expected or observed events, set by set.

    Attributes:
        ratio: of each cell in each set, normalised to mean 1 over the background.
        number: events of the cell; Asimov data are signal and background as expected.
        signal: expected events in all.
        background: expected events in all.
    """

    ratio: Float[np.ndarray, "sets cells"]
    number: Float[np.ndarray, "sets cells"]
    signal: Float[np.ndarray, " sets"]
    background: Float[np.ndarray, " sets"]


@dataclass(frozen=True)
class Optimum:
    """Where the likelihood of each set is largest."""

    mu: Float[np.ndarray, " sets"]
    alpha: Float[np.ndarray, " sets"]
    sigma_mu: Float[np.ndarray, " sets"]


@dataclass(frozen=True)
class UnbinnedFit:
    """Expected results of an unbinned fit to the µ = 1 Asimov data.

    Attributes:
        significance: √t(0).
        mu: best fit; 1 for an exact ratio, so that its distance to 1 is the bias of a learned one.
        sigma_mu: from the curvature there.
        interval: where t(µ) < 1.
    """

    significance: float
    mu: float
    sigma_mu: float
    interval: tuple[float, float]


def asimov(
    ratio: Float[np.ndarray, "#sets cells"],
    signal: Float[np.ndarray, "sets cells"],
    background: Float[np.ndarray, "sets cells"],
) -> Data:
    """Take what is expected at µ = 1 as data, the ratio normalised to Σ B r = Σ B in each set.

    A learned ratio without that claims more significance than the Neyman-Pearson limit allows:
    µ S r would not integrate to µ S over the sample that stands for the integral.

    Args:
        ratio: of each cell, in any normalisation.
        signal: expected events of each cell.
        background: likewise.
    """
    total = background.sum(axis=1)
    normalised = ratio * (total / (background * ratio).sum(axis=1))[:, None]
    return Data(normalised, signal + background, signal.sum(axis=1), total)


def minus_two_ln_l(
    data: Data,
    mu: Float[np.ndarray, " sets"],
    alpha: Float[np.ndarray, " sets"],
    scale: BackgroundScale,
) -> Float[np.ndarray, " sets"]:
    """-2 ln L but for a constant of each set: Σ n ln B is added, which keeps numbers small."""
    kappa, s_over_b = scale(alpha), data.signal / data.background
    density = (mu * s_over_b)[:, None] * data.ratio + kappa[:, None]
    logs = np.log(np.maximum(density, _LEAST))
    expected = mu * data.signal + kappa * data.background
    return 2 * (expected - (data.number * logs).sum(axis=1)) + alpha**2


def best_fit(data: Data, uncertainty: float, mu: float | None = None) -> Optimum:
    """Maximise the likelihood in µ and α, or in α alone at a given µ.

    Newton's method with the Hessian of a linear density, Σ n gᵀg/λ², which is positive definite;
    steps are halved where they would not lower -2 ln L.

    Args:
        data: sets; fitted side by side.
        uncertainty: relative, of the background normalisation; 0 for none.
        mu: fixed if given.

    Raises:
        ValueError: if a fit does not converge.
    """
    scale = BackgroundScale(uncertainty)
    sets = len(data.signal)
    at = np.stack([np.full(sets, 1.0 if mu is None else mu), np.zeros(sets)])
    free = np.array([mu is None, uncertainty > 0])
    value = minus_two_ln_l(data, at[0], at[1], scale)
    for _ in range(_STEPS):
        gradient, hessian = _derivatives(data, at, scale)
        step = _newton_step(gradient, hessian, free)
        if np.abs(step).max(initial=0.0) < _PRECISION:
            break
        at, value = _lowered(data, at, step, value, scale)
    else:
        raise ValueError(f"unbinned fit: no convergence in {_STEPS} steps, last {step.tolist()}")
    _, hessian = _derivatives(data, at, scale)
    information = hessian[0, 0] - (hessian[0, 1] ** 2 / hessian[1, 1] if uncertainty else 0.0)
    return Optimum(at[0], at[1], 1 / np.sqrt(information))


def _derivatives(
    data: Data, at: Float[np.ndarray, "2 sets"], scale: BackgroundScale
) -> tuple[Float[np.ndarray, "2 sets"], Float[np.ndarray, "2 2 sets"]]:
    """Of -ln L with respect to µ and α."""
    mu, alpha = at
    s_over_b = (data.signal / data.background)[:, None] * data.ratio
    slope = scale.slope(alpha)
    density = np.maximum(mu[:, None] * s_over_b + scale(alpha)[:, None], _LEAST)
    share = data.number / density
    by_mu = s_over_b / density
    gradient = np.stack(
        [
            data.signal - (share * s_over_b).sum(axis=1),
            slope * (data.background - share.sum(axis=1)) + alpha,
        ]
    )
    mixed = slope * (share * by_mu).sum(axis=1)
    hessian = np.array(
        [
            [(data.number * by_mu**2).sum(axis=1), mixed],
            [mixed, slope**2 * (share / density).sum(axis=1) + 1],
        ]
    )
    return gradient, hessian


def _newton_step(
    gradient: Float[np.ndarray, "2 sets"],
    hessian: Float[np.ndarray, "2 2 sets"],
    free: np.ndarray,
) -> Float[np.ndarray, "2 sets"]:
    step = np.zeros_like(gradient)
    if free.all():
        step = -np.linalg.solve(np.moveaxis(hessian, 2, 0), gradient.T[..., None])[..., 0].T
    elif free.any():
        one = int(np.flatnonzero(free)[0])
        step[one] = -gradient[one] / hessian[one, one]
    return step


def _lowered(
    data: Data,
    at: Float[np.ndarray, "2 sets"],
    step: Float[np.ndarray, "2 sets"],
    value: Float[np.ndarray, " sets"],
    scale: BackgroundScale,
) -> tuple[Float[np.ndarray, "2 sets"], Float[np.ndarray, " sets"]]:
    """A step, halved until no set gets worse than rounding makes it."""
    share = np.ones(len(value))
    for _ in range(50):
        there = at + share * step
        new = minus_two_ln_l(data, there[0], there[1], scale)
        worse = ~(new <= value + 1e-12 * np.abs(value))
        if not worse.any():
            break
        share = np.where(worse, share / 2, share)
    return there, new


def discovery_significance(data: Data, uncertainty: float) -> Float[np.ndarray, " sets"]:
    """√t(0) of each set."""
    scale = BackgroundScale(uncertainty)
    values = [
        minus_two_ln_l(data, fit.mu, fit.alpha, scale)
        for fit in (best_fit(data, uncertainty, 0.0), best_fit(data, uncertainty))
    ]
    return np.sqrt(np.maximum(values[0] - values[1], 0))


class Scan:
    """The profile likelihood ratio t(µ) of one data set.

    Args:
        data: one set.
        uncertainty: relative, of the background normalisation; 0 for none.
    """

    def __init__(self, data: Data, uncertainty: float) -> None:
        self.data = data
        self.uncertainty = uncertainty
        self.scale = BackgroundScale(uncertainty)
        self.best = best_fit(data, uncertainty)
        self._least = minus_two_ln_l(data, self.best.mu, self.best.alpha, self.scale)[0]

    def t(self, mu: float) -> float:
        """-2 ln L of µ with α profiled, over that of the best fit."""
        fit = best_fit(self.data, self.uncertainty, mu)
        value = minus_two_ln_l(self.data, fit.mu, fit.alpha, self.scale)[0]
        return float(max(value - self._least, 0.0))

    def interval(self) -> tuple[float, float]:
        """Where t(µ) < 1; the lower end is at least where the density of an event vanishes."""
        best, sigma = float(self.best.mu[0]), float(self.best.sigma_mu[0])
        rates = (self.data.signal / self.data.background)[:, None] * self.data.ratio
        lowest = -0.999 / float(rates.max())
        ends = []
        for side in (-1, 1):
            far = max(best + 1.3 * side * sigma, lowest)
            while self.t(far) < 1 and far != lowest:
                far = max(best + 2 * (far - best), lowest)
            end = far if self.t(far) < 1 else brentq(lambda mu: self.t(mu) - 1, best, far)
            ends.append(float(end))
        return ends[0], ends[1]


def fit(data: Data, uncertainty: float) -> UnbinnedFit:
    """Expected results of one set of Asimov data.

    Args:
        data: one set.
        uncertainty: relative, of the background normalisation; 0 for none.
    """
    scan = Scan(data, uncertainty)
    best = scan.best
    return UnbinnedFit(
        scan.t(0.0) ** 0.5, float(best.mu[0]), float(best.sigma_mu[0]), scan.interval()
    )
