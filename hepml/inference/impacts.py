"""What each nuisance parameter does: its pull and error, its impact on µ, its cost in Z.

Impacts are what TRExFitter and cabinetry rank by: a parameter is fixed one standard deviation from
its best fit, everything else is fitted again, and µ moves. Before the fit that deviation is 1, the
width of the constraint; after it the error that the data leave.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool, Float

from hepml.inference.likelihood import asimov_likelihood
from hepml.inference.model import Model
from hepml.inference.newton import At, Likelihood, fit_with_errors, minimise
from hepml.inference.unbinned import Data, Sources, UnbinnedLikelihood


@dataclass(frozen=True)
class Impact:
    """One nuisance parameter in a fit to the µ = 1 Asimov data.

    Attributes:
        name: of the source.
        title: of the source.
        pull: best fit of α, with its error; 0 ± 1 is what the constraint alone says.
        error: of α after the fit.
        prefit: change of µ for α one standard deviation of its constraint down, and up.
        postfit: change of µ for α one error after the fit down, and up.
        z_with_only_this: significance with no other source.
        z_without_this: significance with all others.
    """

    name: str
    title: str
    pull: float
    error: float
    prefit: list[float]
    postfit: list[float]
    z_with_only_this: float
    z_without_this: float


@dataclass(frozen=True)
class Ranking:
    """All nuisance parameters of one fit, the largest impact first.

    Attributes:
        z: significance with all sources.
        z_without: with none; the statistics of the simulation stays.
        sigma_mu: error of µ with all sources.
        sigma_mu_without: with none.
        impacts: of each.
    """

    z: float
    z_without: float
    sigma_mu: float
    sigma_mu_without: float
    impacts: list[Impact]

    def cost(self, impact: Impact) -> float:
        """What one source alone takes from the significance."""
        return self.z_without - impact.z_with_only_this


def rank_binned(model: Model, titles: Mapping[str, str]) -> Ranking:
    """Sources of a binned fit: those of the first set, in the order of its parameters."""
    return _ranking(partial(asimov_likelihood, model), titles)


def rank_unbinned(data: Data, sources: Sources, titles: Mapping[str, str]) -> Ranking:
    """Sources of an unbinned fit of the first set of the data."""

    def likelihood(sets: int) -> UnbinnedLikelihood:
        return UnbinnedLikelihood(data.repeated(sets), sources)

    return _ranking(likelihood, titles)


def _ranking(likelihood: Callable[[int], Likelihood], titles: Mapping[str, str]) -> Ranking:
    """Rank sources.

    Args:
        likelihood: of so many copies of one data set.
        titles: of the sources, in the order of their parameters.
    """
    number = len(titles)
    of_mu_alone = np.arange(number + 1) == 0
    best, error = fit_with_errors(likelihood(1), np.ones(number + 1, dtype=bool))
    moved = _moved(likelihood(4 * number), best, error[1:])
    acting = _switched(number)
    z = _significances(likelihood(len(acting)), acting)
    _, least = fit_with_errors(likelihood(1), of_mu_alone)
    impacts = [
        Impact(
            name,
            title,
            float(best[k + 1]),
            float(error[k + 1]),
            moved[0, :, k].tolist(),
            moved[1, :, k].tolist(),
            float(z[2 + k]),
            float(z[2 + number + k]),
        )
        for k, (name, title) in enumerate(titles.items())
    ]
    impacts.sort(key=lambda impact: -max(abs(change) for change in impact.postfit))
    return Ranking(float(z[0]), float(z[1]), float(error[0]), float(least[0]), impacts)


def _moved(
    likelihood: Likelihood,
    best: Float[np.ndarray, " parameters"],
    error: Float[np.ndarray, " sources"],
) -> Float[np.ndarray, "2 2 sources"]:
    """Changes of µ: before the fit and after it, down and up, of each source."""
    number = len(error)
    start = np.tile(best, (2, 2, number, 1))
    own = np.arange(number)
    for kind, width in enumerate((np.ones(number), error)):
        for side, sign in enumerate((-1, 1)):
            start[kind, side, own, own + 1] += sign * width
    free = np.ones(start.shape, dtype=bool)
    free[:, :, own, own + 1] = False
    shape = 4 * number, len(best)  # of no source too
    at = minimise(likelihood, start.reshape(shape), free.reshape(shape))
    return at[:, 0].reshape(2, 2, number) - best[0]


def _switched(number: int) -> Bool[np.ndarray, "cases sources"]:
    """All sources, none, each alone, all but each."""
    alone = np.eye(number, dtype=bool)
    ends = np.array([[True] * number, [False] * number], dtype=bool).reshape(2, number)
    return np.concatenate([ends, alone, ~alone])


def _significances(
    likelihood: Likelihood, acting: Bool[np.ndarray, "cases sources"]
) -> Float[np.ndarray, " cases"]:
    """√t(0) with some of the sources acting."""
    values = []
    for mu in (0.0, 1.0):
        start: At = np.zeros((len(acting), acting.shape[1] + 1))
        start[:, 0] = mu
        of_mu = np.full((len(acting), 1), mu > 0)  # without signal µ is fixed
        at = minimise(likelihood, start, np.concatenate([of_mu, acting], axis=1))
        values.append(likelihood.value(at))
    return np.sqrt(np.maximum(values[0] - values[1], 0))
