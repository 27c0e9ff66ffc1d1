"""-2Δln L of µ by every estimator on identical events: what each step to a mere count loses.

All estimators profile the same sources of uncertainty on µ = 1 Asimov data. The statistics of the
simulated events is left out: a fit that has no bins has no γ to profile.

With no source but the normalisation of the background an estimator that knows less can only have
the larger σ(µ): unbinned ≤ binned ≤ counting, for a likelihood ratio and a threshold at an edge of
the bins. With all sources that is no law, because each estimator sees of a source what its bins, or
the slices of the density ratios, show of it; docs/decisions/0008 says what these are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Float

from hepml.inference.likelihood import asimov_likelihood
from hepml.inference.model import Model
from hepml.inference.newton import Likelihood, fit_with_errors, minimise
from hepml.inference.sources import BACKGROUND
from hepml.inference.templates import Templates, model_of
from hepml.inference.unbinned import Data, Sources, UnbinnedLikelihood

POINTS = 33


@dataclass(frozen=True)
class Curve:
    """t(µ) = -2Δln L of one estimator, 3.2 σ on either side of the best fit, but for µ < 0.

    Attributes:
        estimator: "unbinned", "binned", "counting" at the working point, or "all events" counted.
        mu: signal strengths.
        t: at these, all sources of uncertainty profiled.
        sigma: error of µ from the curvature at the best fit, all sources profiled.
        sigma_normalisation_only: with no source but the normalisation of the background.
    """

    estimator: str
    mu: list[float]
    t: list[float]
    sigma: float
    sigma_normalisation_only: float


def likelihood_curves(
    fitted: Templates,
    counted: Templates,
    shape: tuple[Data, Sources] | None,
    sources: tuple[str, ...],
) -> list[Curve]:
    """Curves of all estimators a method has, from the most to the least informed.

    Args:
        fitted: all bins of the binned fit.
        counted: the working point, one bin.
        shape: data of the unbinned fit, and what nuisance parameters do there; None for cuts.
        sources: of the unbinned fit, in the order of its parameters.
    """
    curves = []
    if shape is not None:
        curves.append(_curve("unbinned", partial(_unbinned_likelihood, *shape), sources))
    bins, passed = (_without_statistics(model_of(made)) for made in (fitted, counted))
    for name, model, acting in (
        ("binned", bins, fitted.sources),
        ("counting", passed, counted.sources),
        ("all events", _in_one_bin(bins), fitted.sources),
    ):
        curves.append(_curve(name, partial(asimov_likelihood, model), acting))
    return curves


def _curve(
    estimator: str, likelihood: Callable[[int], Likelihood], sources: tuple[str, ...]
) -> Curve:
    """Of an estimator.

    Args:
        estimator: its name.
        likelihood: of so many copies of its data.
        sources: in the order of its parameters.
    """
    free = np.ones(len(sources) + 1, dtype=bool)
    kept = np.array([True, *(source == BACKGROUND for source in sources)])
    best, error = fit_with_errors(likelihood(1), free)
    _, least_error = fit_with_errors(likelihood(1), kept)
    mu = _range(float(best[0]), float(error[0]))
    lowest = likelihood(1).value(best[None])
    t = np.maximum(_profiled(likelihood(POINTS), mu, len(sources)) - lowest, 0)
    return Curve(estimator, mu.tolist(), t.tolist(), float(error[0]), float(least_error[0]))


def _profiled(
    likelihood: Likelihood, mu: Float[np.ndarray, " sets"], sources: int
) -> Float[np.ndarray, " sets"]:
    """-2 ln L at the best α for the µ of each set."""
    start = np.zeros((len(mu), sources + 1))
    start[:, 0] = mu
    free = np.ones(start.shape, dtype=bool)
    free[:, 0] = False
    return likelihood.value(minimise(likelihood, start, free))


def _unbinned_likelihood(data: Data, varied: Sources, sets: int) -> UnbinnedLikelihood:
    return UnbinnedLikelihood(data.repeated(sets), varied)


def _without_statistics(model: Model) -> Model:
    return replace(model, relative_error=0 * model.relative_error)


def _in_one_bin(model: Model) -> Model:
    """All bins as one, whose contents a shape at constant yield does not change."""
    nominal, shifts = (x.sum(axis=-1, keepdims=True) for x in (model.nominal, model.shifts))
    error = model.relative_error[:, :1]  # none in any bin
    return replace(model, nominal=nominal, shifts=shifts, relative_error=error)


def _range(best: float, sigma: float) -> Float[np.ndarray, " points"]:
    reach = 3.2 * sigma
    return np.linspace(max(best - reach, 0.0), best + reach, POINTS)
