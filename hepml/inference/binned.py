"""The binned profile likelihood fit behind every quoted number, by pyhf.

Everything is expected before data are seen: the µ = 1 Asimov data set is passed *as data* for
discovery and the interval, the background-only one for the limit. pyhf's own ``return_expected``
would profile the nuisance parameters on the observed data first.
"""

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyhf
from jaxtyping import Float
from scipy.optimize import brentq
from scipy.stats import norm

from hepml.errors import InputError

LARGEST_PULL = 20.0  # pyhf stops at 5 by default, where a strong signal would be cut short
LARGEST_GAMMA = 100.0
LARGEST_MU = 1e6
LEVEL = 0.95
BANDS = (-2, -1, 0, 1, 2)


@dataclass(frozen=True)
class Histogram:
    """Expected contents of the bins that are fitted, with the errors of the simulated samples."""

    signal: Float[np.ndarray, " bins"]
    signal_error: Float[np.ndarray, " bins"]
    background: Float[np.ndarray, " bins"]
    background_error: Float[np.ndarray, " bins"]


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


def workspace(histogram: Histogram, background_uncertainty: float, channel: str) -> dict[str, Any]:
    """A HistFactory workspace as pyhf and cabinetry read it.

    Signal strength ``mu``; on the background ``staterror``, the statistics of its simulated
    events, and ``normsys``. The observations are the µ = 1 Asimov data. The statistics of the
    simulated signal shows in the bootstrap errors: in one ``staterror`` with the background it
    would dilute the background's error exactly where the signal is pure.

    Args:
        histogram: what is expected.
        background_uncertainty: relative, of the normalisation; 0 for none.
        channel: its name.
    """
    statistics = f"staterror_{channel}"
    errors = histogram.background_error.tolist()
    signal = [{"name": "mu", "type": "normfactor", "data": None}]
    background: list[dict[str, Any]] = [{"name": statistics, "type": "staterror", "data": errors}]
    parameters: list[dict[str, Any]] = [
        {"name": "mu", "inits": [1.0], "bounds": [[0.0, LARGEST_MU]]},
        {"name": statistics, "bounds": [[1e-10, LARGEST_GAMMA]] * len(errors)},
    ]
    if background_uncertainty:
        name = "background_normalisation"
        factors = {"hi": 1 + background_uncertainty, "lo": 1 - background_uncertainty}
        background.append({"name": name, "type": "normsys", "data": factors})
        parameters.append({"name": name, "bounds": [[-LARGEST_PULL, LARGEST_PULL]]})
    samples = [
        {"name": "signal", "data": histogram.signal.tolist(), "modifiers": signal},
        {"name": "background", "data": histogram.background.tolist(), "modifiers": background},
    ]
    observed = (histogram.signal + histogram.background).tolist()
    return {
        "version": "1.0.0",
        "channels": [{"name": channel, "samples": samples}],
        "observations": [{"name": channel, "data": observed}],
        "measurements": [
            {"name": "hepml", "config": {"poi": "mu", "parameters": parameters}},
        ],
    }


@contextlib.contextmanager
def numpy_and_minuit() -> Iterator[None]:
    """Let pyhf use NumPy and Minuit inside the block, and what it used before after it."""
    before = pyhf.get_backend()
    pyhf.set_backend("numpy", pyhf.optimize.minuit_optimizer(tolerance=1e-4))
    try:
        yield
    finally:
        pyhf.set_backend(*before)


def read_model(content: dict[str, Any]) -> pyhf.Model:
    """The model of a workspace."""
    with warnings.catch_warnings():
        # pyhf 0.7 validates with a part of jsonschema that is on its way out
        warnings.filterwarnings("ignore", "jsonschema.RefResolver", DeprecationWarning)
        return pyhf.Workspace(content).model()


class AsimovFit:
    """-2 ln L of a workspace's model as a function of µ, profiled by pyhf on given Asimov data.

    Args:
        content: workspace.
        mu: of the Asimov data, whose best fit is µ itself at nominal nuisance parameters.
    """

    def __init__(self, content: dict[str, Any], mu: float) -> None:
        self.model = read_model(content)
        start = np.array(self.model.config.suggested_init())
        start[self.model.config.poi_index] = mu
        self.start = start.tolist()
        self.data = self.model.expected_data(self.start)
        self.best = float(self.model.logpdf(self.start, self.data)[0]) * -2
        signal, background = (
            np.array(sample["data"]) for sample in content["channels"][0]["samples"]
        )
        # µ at which a bin would be empty; nothing is fitted below
        self.lowest_mu = -float(np.min(background / signal))

    def t(self, mu: float) -> float:
        """-2 ln of the profiled likelihood ratio of µ to the best fit.

        Raises:
            InputError: if Minuit does not converge.
        """
        bounds = self.model.config.suggested_bounds()
        bounds[self.model.config.poi_index] = (self.lowest_mu, LARGEST_MU)
        try:
            _, value = pyhf.infer.mle.fixed_poi_fit(
                mu, self.data, self.model, self.start, bounds, return_fitted_val=True
            )
        except pyhf.exceptions.FailedMinimization as error:
            raise InputError(
                f"inference: the binned fit at µ = {mu:.4g} does not converge ({error}); fewer "
                "inference.bins or a larger inference.minimum_background make it easier"
            ) from None
        return max(float(value) - self.best, 0.0)

    def root_t(self, mu: float) -> float:
        """√t, almost linear in µ on either side of the best fit."""
        return float(np.sqrt(self.t(mu)))

    def crossing(self, level: float, inside: float, outside: float) -> float:
        """µ between two others at which √t reaches a level."""
        precision = 1e-5 * abs(outside - inside)
        return float(brentq(lambda mu: self.root_t(mu) - level, inside, outside, xtol=precision))

    def error(self) -> float:
        """Error of µ from the Hesse matrix at the best fit."""
        bounds = self.model.config.suggested_bounds()
        bounds[self.model.config.poi_index] = (self.lowest_mu, LARGEST_MU)
        result = pyhf.infer.mle.fit(
            self.data, self.model, self.start, bounds, return_uncertainties=True
        )
        return float(result[self.model.config.poi_index, 1])


def fit(content: dict[str, Any]) -> Fit:
    """Expected significance, interval and limits of a workspace.

    Raises:
        InputError: if a fit does not converge.
    """
    with numpy_and_minuit():
        with_signal, without = AsimovFit(content, 1.0), AsimovFit(content, 0.0)
        sigma = with_signal.error()
        interval, limits = _interval(with_signal, sigma), _limits(without, sigma)
        return Fit(with_signal.root_t(0.0), sigma, interval, limits)


def _interval(likelihood: AsimovFit, sigma: float) -> tuple[float, float]:
    """Ends of the region t(µ) < 1 around µ = 1; where no µ is low enough, the lowest there is."""
    lowest = 0.999 * likelihood.lowest_mu
    ends = []
    for side in (-1, 1):
        far = max(1 + 1.2 * side * sigma, lowest)
        while likelihood.root_t(far) < 1 and far != lowest:
            far = max(1 + 2 * (far - 1), lowest)
        ends.append(far if likelihood.root_t(far) < 1 else likelihood.crossing(1.0, 1.0, far))
    return ends[0], ends[1]


def _limits(likelihood: AsimovFit, sigma: float) -> tuple[float, ...]:
    """Expected CLs limits: µ at which CLs of the N σ band is 1 - level.

    With q the test statistic of µ on background-only Asimov data, CL_s+b = Φ(N - √q) and
    CL_b = Φ(N) (arXiv:1007.1727, section 4.3), so that √q = N + Φ⁻¹(1 - (1 - level) Φ(N)).

    Raises:
        InputError: if a limit is beyond any sensible µ.
    """
    limits: list[float] = []
    low, per_unit = 0.0, sigma  # √q grows almost linearly with µ
    for band in BANDS:
        level = float(band + norm.isf((1 - LEVEL) * norm.cdf(band)))
        high = 1.1 * level * per_unit
        while likelihood.root_t(high) < level:
            low, high = high, 1.5 * high
            if high > LARGEST_MU:
                raise InputError(
                    f"inference: the expected limit on µ is beyond {LARGEST_MU:g}; the signal is "
                    "too small to be limited"
                )
        low = likelihood.crossing(level, low, high)
        per_unit = low / level
        limits.append(low)
    return tuple(limits)
