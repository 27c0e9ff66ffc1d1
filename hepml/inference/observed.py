"""What the data say once all bins are open: µ, significance, limit and goodness of fit.

Everything here is one data set in one workspace, so that pyhf with Minuit does it: a few fits
cost seconds. The asymptotic formulae are those of arXiv:1007.1727.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyhf
from scipy.optimize import brentq
from scipy.stats import chi2, norm, poisson

from hepml.errors import InputError
from hepml.inference.binned import LEVEL
from hepml.inference.intervals import beyond
from hepml.inference.workspace import numpy_and_minuit, quiet, read_model

_LOWEST = 0.99  # share of the µ at which a bin would be empty
_STEPS = 40  # of a search for a bracket, each twice as wide


@dataclass(frozen=True)
class GoodnessOfFit:
    """Saturated likelihood ratio at the best fit, χ² distributed if the model is right."""

    chi2: float
    degrees_of_freedom: int
    p_value: float | None


@dataclass(frozen=True)
class ObservedFit:
    """Observed results of the binned fit.

    Attributes:
        mu: best fit; may be negative.
        sigma_mu: from the curvature there.
        interval: where -2Δln L < 1.
        significance: of the background-only hypothesis, √q₀ (0 for µ < 0).
        p_value: one-sided.
        limit: CLs upper limit on µ.
        level: its confidence level.
        goodness_of_fit: of the best fit.
    """

    mu: float
    sigma_mu: float
    interval: list[float]
    significance: float
    p_value: float
    limit: float
    level: float
    goodness_of_fit: GoodnessOfFit


def with_observations(content: dict[str, Any], counts: list[int]) -> dict[str, Any]:
    """The workspace with data in place of what is expected."""
    (observation,) = content["observations"]
    return content | {"observations": [observation | {"data": [float(n) for n in counts]}]}


def fit_observed(content: dict[str, Any], method: str) -> ObservedFit:
    """Fit the observations of a workspace.

    Args:
        content: of the workspace, its observations being data.
        method: named in errors.

    Raises:
        InputError: if a fit does not converge or ends at a bound of a nuisance parameter.
    """
    with numpy_and_minuit(), quiet(), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            likelihood = _Likelihood(content)
            likelihood.check_bounds(method)
            return ObservedFit(
                mu=likelihood.mu,
                sigma_mu=likelihood.sigma_mu,
                interval=[likelihood.crossing(side) for side in (-1, 1)],
                significance=likelihood.significance(),
                p_value=float(norm.sf(likelihood.significance())),
                limit=likelihood.limit(),
                level=LEVEL,
                goodness_of_fit=likelihood.goodness_of_fit(),
            )
        except (pyhf.exceptions.FailedMinimization, ValueError) as error:
            raise InputError(
                f"inference: {method}: the fit to the data does not converge ({error}); compare "
                "the observed with the expected bins, and lower inference.bins if they are nearly "
                "empty"
            ) from None


class _Likelihood:
    """-2 ln L of µ for the observations of a workspace, nuisance parameters profiled."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.model = read_model(content)
        self.data = pyhf.Workspace(content).data(self.model)
        self.start = self.model.config.suggested_init()
        self.poi = self.model.config.poi_index
        self.bounds = self.model.config.suggested_bounds()
        self.fit_bounds = list(self.bounds)
        self.fit_bounds[self.poi] = (self._lowest_mu(content), self.bounds[self.poi][1])
        found, value = pyhf.infer.mle.fit(
            self.data,
            self.model,
            self.start,
            self.fit_bounds,
            return_fitted_val=True,
            return_uncertainties=True,
        )
        self.best, self.least = found[:, 0], float(value)
        self.mu, self.sigma_mu = (float(x) for x in found[self.poi])

    def _lowest_mu(self, content: dict[str, Any]) -> float:
        """The µ at which the first bin would be empty, with nominal nuisance parameters."""
        poi = content["measurements"][0]["config"]["poi"]
        (channel,) = content["channels"]
        bins = self.model.config.channel_nbins[channel["name"]]
        signal, background = np.zeros(bins), np.zeros(bins)
        for sample in channel["samples"]:
            scaled = any(modifier["name"] == poi for modifier in sample["modifiers"])
            (signal if scaled else background)[:] += sample["data"]
        filled = signal > 0
        return -_LOWEST * float(np.min(background[filled] / signal[filled]))

    def check_bounds(self, method: str) -> None:
        """Refuse a best fit at a bound."""
        for name, value, (low, high) in zip(
            self.model.config.par_names, self.best, self.fit_bounds, strict=True
        ):
            if min(value - low, high - value) < 1e-6 * (high - low):
                raise InputError(
                    f"inference: {method}: the fit to the data ends at a bound of {name} "
                    f"({value:.4g} in [{low:.4g}, {high:.4g}]); data and simulation disagree by "
                    "more than the uncertainties allow: look at the bins before quoting anything"
                )

    def t(self, mu: float) -> float:
        """-2 Δ ln L of µ to the best fit."""
        _, value = pyhf.infer.mle.fixed_poi_fit(
            mu, self.data, self.model, self.start, self.fit_bounds, return_fitted_val=True
        )
        return float(value) - self.least

    def significance(self) -> float:
        """√q₀."""
        return float(np.sqrt(max(self.t(0.0), 0.0))) if self.mu > 0 else 0.0

    def crossing(self, side: int) -> float:
        """Where -2Δln L is 1 on one side; the lowest µ there is if it is less there."""
        start = self.mu + 1.2 * side * self.sigma_mu
        far = beyond(self.t, self.mu, start, self.fit_bounds[self.poi][0])
        if self.t(far) < 1:
            return float(far)
        return float(brentq(lambda mu: self.t(mu) - 1, self.mu, far, xtol=1e-5 * self.sigma_mu))

    def limit(self) -> float:
        """µ at which CLs by q̃ is 1 - level."""

        def excess(mu: float) -> float:
            found = pyhf.infer.hypotest(
                mu, self.data, self.model, self.start, self.bounds, test_stat="qtilde"
            )
            return float(np.log(max(float(found), 1e-300) / (1 - LEVEL)))

        low, high = 0.0, max(self.mu, 0.0) + 2 * self.sigma_mu
        for _ in range(_STEPS):
            if excess(high) < 0:
                break
            low, high = high, 2 * high
        low = low or 0.01 * high
        while excess(low) < 0:
            low, high = low / 4, low
        return float(brentq(excess, low, high, rtol=1e-4))

    def goodness_of_fit(self) -> GoodnessOfFit:
        """Likelihood ratio to a model that meets every bin without any pull."""
        auxiliary = self.model.config.auxdata
        main = np.array(self.data[: len(self.data) - len(auxiliary)])
        saturated = float(np.sum(poisson.logpmf(main, main)))
        if len(auxiliary):
            pars = np.array(self.start)
            saturated += float(self.model.constraint_logpdf(np.array(auxiliary), pars))
        found = max(self.least + 2 * saturated, 0.0)
        freedom = len(main) - 1  # µ is the only parameter without a constraint
        p = float(chi2.sf(found, freedom)) if freedom > 0 else None
        return GoodnessOfFit(found, freedom, p)
