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

from hepml.inference.model import Model
from hepml.inference.templates import Template, Templates

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


def workspace(templates: Templates, channel: str) -> dict[str, Any]:
    """A HistFactory workspace as pyhf and cabinetry read it.

    Signal strength ``mu``; on the background ``staterror``, the statistics of its simulated
    events; for each source of uncertainty ``normsys`` and ``histosys`` of one name. The
    observations are the µ = 1 Asimov data. The statistics of the simulated signal shows in the
    bootstrap errors: in one ``staterror`` with the background it would dilute the background's
    error exactly where the signal is pure.

    Args:
        templates: what is expected.
        channel: its name.
    """
    statistics = f"staterror_{channel}"
    observed = templates.contents(signal=True) + templates.contents(signal=False)
    parameters: list[dict[str, Any]] = [
        {"name": "mu", "inits": [1.0], "bounds": [[0.0, LARGEST_MU]]},
        {"name": statistics, "bounds": [[1e-10, LARGEST_GAMMA]] * len(observed)},
        *({"name": s, "bounds": [[-LARGEST_PULL, LARGEST_PULL]]} for s in templates.sources),
    ]
    samples = [
        {
            "name": process.name,
            "data": process.nominal.tolist(),
            "modifiers": [_of_class(process, statistics), *_of_sources(process)],
        }
        for process in templates.processes
    ]
    return {
        "version": "1.0.0",
        "channels": [{"name": channel, "samples": samples}],
        "observations": [{"name": channel, "data": observed.tolist()}],
        "measurements": [
            {"name": "hepml", "config": {"poi": "mu", "parameters": parameters}},
        ],
    }


def _of_class(process: Template, statistics: str) -> dict[str, Any]:
    if process.signal:
        return {"name": "mu", "type": "normfactor", "data": None}
    return {"name": statistics, "type": "staterror", "data": process.error.tolist()}


def _of_sources(process: Template) -> list[dict[str, Any]]:
    modifiers: list[dict[str, Any]] = []
    for name, effect in process.effects.items():
        down, up = effect.factors
        if (down, up) != (1.0, 1.0):
            factors = {"hi": up, "lo": down}
            modifiers.append({"name": name, "type": "normsys", "data": factors})
        if effect.shifts is not None:
            low, high = (process.nominal + shift for shift in effect.shifts)
            shapes = {"hi_data": high.tolist(), "lo_data": low.tolist()}
            modifiers.append({"name": name, "type": "histosys", "data": shapes})
    return modifiers


def likelihood_model(content: dict[str, Any]) -> Model:
    """The own likelihood's model of a workspace that :func:`workspace` made, one set."""
    (channel,) = content["channels"]
    fixed = {"mu", f"staterror_{channel['name']}"}
    parameters = content["measurements"][0]["config"]["parameters"]
    sources = [p["name"] for p in parameters if p["name"] not in fixed]
    nominal = np.array([sample["data"] for sample in channel["samples"]])
    number, bins = nominal.shape
    is_signal, variance = np.zeros(number, bool), np.zeros(bins)
    factors, shifts = (np.zeros((2, 1, number, len(sources), *rest)) for rest in ((), (bins,)))
    factors += 1
    for i, sample in enumerate(channel["samples"]):
        for modifier in sample["modifiers"]:
            name, data = modifier["name"], modifier["data"]
            if modifier["type"] == "normfactor":
                is_signal[i] = True
            elif modifier["type"] == "staterror":
                variance += np.square(data)
            elif modifier["type"] == "normsys":
                factors[:, 0, i, sources.index(name)] = data["lo"], data["hi"]
            else:
                moved = np.array([data["lo_data"], data["hi_data"]])
                shifts[:, 0, i, sources.index(name)] = moved - nominal[i]
    error = np.sqrt(variance) / nominal[~is_signal].sum(axis=0)
    return Model(nominal[None], is_signal, error[None], factors, shifts)


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
