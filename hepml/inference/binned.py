"""The binned profile likelihood fit: expected significance, error, interval and limits of µ.

Everything is expected before data are seen: the µ = 1 Asimov data set takes the place of data for
discovery and the interval, the background-only one for the limit. The likelihood is that of
:mod:`hepml.inference.likelihood`; :mod:`hepml.inference.workspace` hands the same to pyhf.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from hepml.inference.intervals import beyond
from hepml.inference.likelihood import (
    asimov_q,
    discovery_significance,
    signal_strength_error,
)
from hepml.inference.model import Model

LEVEL = 0.95
BANDS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class Fit:
    """Expected results of a binned fit.

    Attributes:
        significance: median discovery significance.
        sigma_mu: error of µ from the curvature at µ = 1.
        interval: where -2Δln L of the µ = 1 Asimov data is below 1.
        limits: expected CLs upper limits on µ at -2, -1, 0, 1, 2 standard deviations.
    """

    significance: float
    sigma_mu: float
    interval: tuple[float, float]
    limits: tuple[float, ...]


class AsimovFit:
    """The profile likelihood ratio of µ on given Asimov data.

    Args:
        model: what is expected; its first set, with some signal, and background > 0 in every bin.
        mu: of the Asimov data, whose best fit is µ itself at nominal nuisance parameters.
    """

    def __init__(self, model: Model, mu: float) -> None:
        self.model = model.repeated(1)
        signal, background = model.total_signal[:1], model.total_background[:1]
        self.data = mu * signal + background
        bins = signal > 0
        # µ at which a bin would be empty; nothing is fitted below
        self.lowest_mu = -float(np.min(background[bins] / signal[bins]))

    def root_t(self, mu: float) -> float:
        """√t of µ, almost linear in µ on either side of the best fit."""
        t = asimov_q(self.model, self.data, mu)[0]
        return float(np.sqrt(max(t, 0.0)))

    def crossing(self, level: float, inside: float, outside: float) -> float:
        """µ between two others at which √t reaches a level."""
        precision = 1e-7 * abs(outside - inside)
        return float(brentq(lambda mu: self.root_t(mu) - level, inside, outside, xtol=precision))


def fit(model: Model) -> Fit:
    """Expected significance, interval and limits.

    Args:
        model: what is expected; its first set, with some signal, and background > 0 in every bin.

    Raises:
        InputError: if a fit does not converge.
    """
    first = model.repeated(1)
    sigma = float(signal_strength_error(first)[0])
    return Fit(
        float(discovery_significance(first)[0]),
        sigma,
        _interval(AsimovFit(model, 1.0), sigma),
        _limits(AsimovFit(model, 0.0), sigma),
    )


def _interval(likelihood: AsimovFit, sigma: float) -> tuple[float, float]:
    """Ends of the region t(µ) < 1 around µ = 1; where no µ is low enough, the lowest there is."""
    lowest = 0.999 * likelihood.lowest_mu
    ends = []
    for side in (-1, 1):
        far = beyond(likelihood.root_t, 1.0, 1 + 1.2 * side * sigma, lowest)
        ends.append(far if likelihood.root_t(far) < 1 else likelihood.crossing(1.0, 1.0, far))
    return ends[0], ends[1]


def _limits(likelihood: AsimovFit, sigma: float) -> tuple[float, ...]:
    """Expected CLs limits: µ at which CLs of the N σ band is 1 - level.

    With q the test statistic of µ on background-only Asimov data, CL_s+b = Φ(N - √q) and
    CL_b = Φ(N) (arXiv:1007.1727, section 4.3), so that √q = N + Φ⁻¹(1 - (1 - level) Φ(N)).
    q grows with µ without bound, so that there always is a limit.
    """
    limits: list[float] = []
    low, per_unit = 0.0, sigma  # √q grows almost linearly with µ
    for band in BANDS:
        level = float(band + norm.isf((1 - LEVEL) * norm.cdf(band)))
        high = 1.1 * level * per_unit
        while likelihood.root_t(high) < level:
            low, high = high, 1.5 * high
        low = likelihood.crossing(level, low, high)
        per_unit = low / level
        limits.append(low)
    return tuple(limits)
