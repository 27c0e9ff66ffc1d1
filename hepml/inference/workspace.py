"""The binned likelihood as a HistFactory workspace, and pyhf's word on the own significance.

pyhf fits on the µ = 1 Asimov data passed *as data*: its own ``return_expected`` would profile the
nuisance parameters on the observed data first.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyhf

from hepml.inference.binned import Histogram

LARGEST_PULL = 20.0  # pyhf stops at 5 by default, where a strong signal would be cut short
LARGEST_GAMMA = 100.0
LARGEST_MU = 1e6
LARGEST_DIFFERENCE = 1e-3  # of two significances that agree; relative, if they are above 1


@dataclass(frozen=True)
class PyhfCheck:
    """What pyhf, minimising with Minuit, says of the significance that is quoted.

    Attributes:
        significance: by pyhf; None if it does not converge.
        agrees: with the quoted one to a thousandth.
    """

    significance: float | None
    agrees: bool


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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep pyhf from printing pages on a minimisation that fails: the check says so in a word."""
    log = logging.getLogger("pyhf.optimize.mixins")
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def read_model(content: dict[str, Any]) -> pyhf.Model:
    """The model of a workspace."""
    with warnings.catch_warnings():
        # pyhf 0.7 validates with a part of jsonschema that is on its way out
        warnings.filterwarnings("ignore", "jsonschema.RefResolver", DeprecationWarning)
        return pyhf.Workspace(content).model()


def checked_by_pyhf(content: dict[str, Any], significance: float) -> PyhfCheck:
    """Compare a significance with pyhf's for the same workspace."""
    found = pyhf_significance(content)
    if found is None:
        return PyhfCheck(None, agrees=False)
    return PyhfCheck(
        found, agrees=abs(found - significance) <= LARGEST_DIFFERENCE * max(1.0, significance)
    )


def pyhf_significance(content: dict[str, Any]) -> float | None:
    """Median discovery significance by pyhf; None where Minuit does not converge."""
    # what Minuit tries on its way may overflow; only its last word counts
    with numpy_and_minuit(), quiet(), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = read_model(content)
        start = model.config.suggested_init()  # µ = 1, nuisance parameters nominal
        data = model.expected_data(start)
        best = -2 * float(model.logpdf(start, data)[0])
        try:
            _, without_signal = pyhf.infer.mle.fixed_poi_fit(
                0.0, data, model, start, model.config.suggested_bounds(), return_fitted_val=True
            )
        except (pyhf.exceptions.FailedMinimization, ValueError):  # bounds are a ValueError
            return None
    if not np.isfinite(without_signal):
        return None
    return float(np.sqrt(max(float(without_signal) - best, 0.0)))
