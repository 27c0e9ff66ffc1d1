"""The unbinned fit: every event counts with its own likelihood ratio.

With r(x) = p(x|S)/p(x|B) the extended likelihood is, but for constants,

    -2 ln L(µ, α) = 2 [ν(µ, α) - Σ_i w_i ln(µ S κ_S r_i g_S(s_i) + B κ_B g_B(s_i))] + Σ_k α_k²

with ν = µ S κ_S + B κ_B (the density ratio form of arXiv:1506.02169, Eq. 5); factors κ(α) and
density ratios g(s, α) of the score s are those of :mod:`hepml.inference.morphing`. It is evaluated
for many data sets at once; "cells" are events, or narrow slices of r that hold many.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from hepml.inference.intervals import beyond
from hepml.inference.morphing import Morphing, Place, Varied, rate_only
from hepml.inference.newton import At, covariance, minimise

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

    def repeated(self, times: int) -> "Data":
        """The first set, so many times."""
        return Data(*(np.repeat(x[:1], times, axis=0) for x in vars(self).values()))


@dataclass(frozen=True)
class Sources:
    """What nuisance parameters do to signal and background, in the cells of the data.

    Attributes:
        signal: morphing of its density.
        background: likewise.
        in_signal: where the cells lie among the nodes of the signal.
        in_background: likewise.
    """

    signal: Morphing
    background: Morphing
    in_signal: Place
    in_background: Place

    @property
    def number(self) -> int:
        """How many nuisance parameters there are."""
        return int(self.signal.rates.shape[-1])


def sources_of(
    signal: Morphing, background: Morphing, score: Float[np.ndarray, " cells"]
) -> Sources:
    """For cells of given scores."""
    return Sources(signal, background, signal.place(score), background.place(score))


def background_normalisation(uncertainty: float, cells: int) -> Sources:
    """An uncertain normalisation of the background, and no other source.

    Args:
        uncertainty: relative; 0 for no source at all.
        cells: of the data.
    """
    change = uncertainty * np.array([[-1.0], [1.0]])[:, : int(uncertainty > 0)]
    scores = np.zeros(cells)
    return sources_of(rate_only(1 + 0 * change), rate_only(1 + change), scores)


@dataclass(frozen=True)
class Optimum:
    """Where the likelihood of each set is largest."""

    mu: Float[np.ndarray, " sets"]
    alpha: Float[np.ndarray, "sets sources"]
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


@dataclass(frozen=True)
class _Densities:
    """Of signal at µ = 1 and of background, over the nominal one of background."""

    signal: Float[np.ndarray, "sets cells"]
    background: Float[np.ndarray, " sets #cells"]
    of_signal: Varied
    of_background: Varied


class UnbinnedLikelihood:
    """-2 ln L of data, but for a constant of each set: Σ n ln B is added.

    That keeps numbers small.
    """

    def __init__(self, data: Data, sources: Sources) -> None:
        self.data, self.sources = data, sources
        self._last: tuple[At, _Densities] | None = None

    def _densities(self, at: At) -> _Densities:
        """Of both classes; where value and derivatives are, found once."""
        if self._last is None or not np.array_equal(self._last[0], at):
            self._last = at.copy(), self._densities_at(at[:, 1:])
        return self._last[1]

    def _densities_at(self, alpha: Float[np.ndarray, "sets sources"]) -> _Densities:
        varied = self.sources
        s = varied.signal(alpha, varied.in_signal)
        b = varied.background(alpha, varied.in_background)
        s_over_b = (self.data.signal / self.data.background * s.rate)[:, None] * self.data.ratio
        return _Densities(s_over_b * s.shape, b.rate[:, None] * b.shape, s, b)

    def value(self, at: At) -> Float[np.ndarray, " sets"]:
        """-2 ln L."""
        data, mu, alpha = self.data, at[:, 0], at[:, 1:]
        d = self._densities(at)
        density = mu[:, None] * d.signal + d.background
        logs = np.log(np.maximum(density, _LEAST))
        expected = mu * data.signal * d.of_signal.rate + data.background * d.of_background.rate
        return 2 * (expected - (data.number * logs).sum(axis=1)) + (alpha**2).sum(axis=1)

    def derivatives(
        self, at: At
    ) -> tuple[
        At,
        Float[np.ndarray, "sets parameters parameters"],
        Float[np.ndarray, "sets parameters parameters"],
    ]:
        """Of -ln L: gradient, Hessian, and that of a linear density, Σ n gᵀg/λ²."""
        data, mu = self.data, at[:, 0]
        d = self._densities(at)
        of_signal, of_background = d.of_signal, d.of_background
        density = np.maximum(mu[:, None] * d.signal + d.background, _LEAST)
        signal = mu * data.signal * of_signal.rate
        background = data.background * of_background.rate
        slopes = [(d.signal / density)[:, None]]
        expected = [(data.signal * of_signal.rate)[:, None]]
        for k in range(self.sources.number):
            by_signal = of_signal.rate_slope[:, k, None] + of_signal.shape_slope[:, k]
            by_background = of_background.rate_slope[:, k, None] + of_background.shape_slope[:, k]
            change = mu[:, None] * d.signal * by_signal + d.background * by_background
            slopes.append((change / density)[:, None])
            rates = (
                signal * of_signal.rate_slope[:, k] + background * of_background.rate_slope[:, k]
            )
            expected.append(rates[:, None])
        slope = np.concatenate(slopes, axis=1)  # sets, parameters, cells
        weighted = data.number[:, None] * slope
        gradient = np.concatenate(expected, axis=1) - weighted.sum(axis=2)
        gradient[:, 1:] += at[:, 1:]
        linear = weighted @ slope.swapaxes(1, 2) + np.diag([0.0, *np.ones(at.shape[1] - 1)])
        return gradient, linear + self._bent(d, mu, density), linear

    def _bent(
        self,
        d: _Densities,
        mu: Float[np.ndarray, " sets"],
        density: Float[np.ndarray, "sets cells"],
    ) -> Float[np.ndarray, "sets parameters parameters"]:
        """Second derivatives of ν - Σ n λ''/λ, λ'' being those of the density."""
        data, sources = self.data, self.sources.number
        bent = np.zeros((len(mu), sources + 1, sources + 1))
        signal = data.signal * d.of_signal.rate
        share = data.number / density
        own = np.eye(sources)
        for expected, number, varied in (
            (mu * signal, share * mu[:, None] * d.signal, d.of_signal),
            (data.background * d.of_background.rate, share * d.background, d.of_background),
        ):
            slope = varied.rate_slope
            of_rate = slope[:, :, None] * slope[:, None, :] + varied.rate_bend[:, :, None] * own
            bent[:, 1:, 1:] += expected[:, None, None] * of_rate - varied.curvature(number)
        by_alpha = d.of_signal.rate_slope[..., None] + d.of_signal.shape_slope
        mixed = ((share * d.signal)[:, None] * by_alpha).sum(axis=2)
        bent[:, 0, 1:] = bent[:, 1:, 0] = signal[:, None] * d.of_signal.rate_slope - mixed
        return bent


def best_fit(likelihood: UnbinnedLikelihood, mu: float | None = None) -> Optimum:
    """Maximise the likelihood in µ and α, or in α alone at a given µ.

    Raises:
        InputError: if a fit does not converge.
    """
    at = np.zeros((len(likelihood.data.signal), likelihood.sources.number + 1))
    at[:, 0] = 1.0 if mu is None else mu
    free = np.ones_like(at, dtype=bool)
    free[:, 0] = mu is None
    at = minimise(likelihood, at, free)
    _, hessian, _ = likelihood.derivatives(at)
    sigma = np.sqrt(covariance(hessian, np.ones_like(free))[:, 0, 0])
    return Optimum(at[:, 0], at[:, 1:], sigma)


def profiled(likelihood: UnbinnedLikelihood, mu: float | None = None) -> np.ndarray:
    """-2 ln L of each set at the best fit, or at the best α for a given µ."""
    return _value_at(likelihood, best_fit(likelihood, mu))


def _value_at(likelihood: UnbinnedLikelihood, fit: Optimum) -> np.ndarray:
    return likelihood.value(np.concatenate([fit.mu[:, None], fit.alpha], axis=1))


def discovery_significance(data: Data, sources: Sources) -> Float[np.ndarray, " sets"]:
    """√t(0) of each set."""
    likelihood = UnbinnedLikelihood(data, sources)
    return np.sqrt(np.maximum(profiled(likelihood, 0.0) - profiled(likelihood), 0))


class Scan:
    """The profile likelihood ratio t(µ) of one data set.

    Args:
        data: one set.
        sources: of uncertainty.
    """

    def __init__(self, data: Data, sources: Sources) -> None:
        self.likelihood = UnbinnedLikelihood(data, sources)
        self.best = best_fit(self.likelihood)
        self._least = _value_at(self.likelihood, self.best)[0]

    def t(self, mu: float) -> float:
        """-2 ln L of µ with α profiled, over that of the best fit."""
        return float(max(profiled(self.likelihood, mu)[0] - self._least, 0.0))

    def interval(self) -> tuple[float, float]:
        """Where t(µ) < 1; the lower end is at least where the density of an event vanishes."""
        data = self.likelihood.data
        best, sigma = float(self.best.mu[0]), float(self.best.sigma_mu[0])
        lowest = -0.999 / float((data.signal / data.background)[0] * data.ratio.max())
        ends = []
        for side in (-1, 1):
            far = beyond(self.t, best, best + 1.3 * side * sigma, lowest)
            end = far if self.t(far) < 1 else brentq(lambda mu: self.t(mu) - 1, best, far)
            ends.append(float(end))
        return ends[0], ends[1]


def fit(data: Data, sources: Sources) -> UnbinnedFit:
    """Expected results of one set of Asimov data."""
    scan = Scan(data, sources)
    best = scan.best
    return UnbinnedFit(
        scan.t(0.0) ** 0.5, float(best.mu[0]), float(best.sigma_mu[0]), scan.interval()
    )
