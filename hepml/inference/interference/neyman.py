"""Confidence intervals of µ by toys where Wilks' theorem fails: Neyman's construction.

With interference the likelihood depends on √µ, and µ ends at 0: there t(µ) of data drawn at µ does
not follow a χ² of one degree of freedom. For each µ the quantile of t(µ) in toys drawn at µ takes
the place of 1 and 3.84; µ belongs to the interval if the t(µ) observed is no larger.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from hepml.errors import InputError
from hepml.inference.interference.likelihood import InterferenceLikelihood, Terms, runs

LEVELS = (0.6826894921370859, 0.95)
ROOTS = 81  # points in √µ between which a parabola finds the minimum


@dataclass(frozen=True)
class Simulated:
    """Cells that toys are drawn from: simulated events, groups of them, or bins.

    Attributes:
        terms: of S, SBI and B for each cell.
        weight: of the reference measure, such that Σ weight λ(µ) = ν(µ).
        yields: expected numbers of events of S, SBI and B, one value each.
    """

    terms: Terms
    weight: Float[np.ndarray, " cells"]
    yields: Terms


@dataclass(frozen=True)
class Belt:
    """Critical values of t.

    Attributes:
        mu: signal strengths, uniform in √µ.
        critical: quantiles of t(µ) at the levels 68.3 % and 95 %.
        toys: data sets for each µ.
    """

    mu: Float[np.ndarray, " points"]
    critical: Float[np.ndarray, "points levels"]
    toys: int


def belt(simulated: Simulated, largest_mu: float, points: int, toys: int, seed: int) -> Belt:
    """Quantiles of t(µ) for data drawn at each µ.

    Args:
        simulated: what to draw from.
        largest_mu: end of the grid, which begins at 0.
        points: of the grid.
        toys: for each of them.
        seed: with the number of the point it sets its generator.

    Raises:
        InputError: if a cell has a negative weight, so that nothing can be drawn from it.
    """
    mus = np.linspace(0, np.sqrt(largest_mu), points) ** 2
    rows = [
        np.quantile(
            toy_t(simulated, float(mu), toys, largest_mu, np.random.default_rng((seed, k))), LEVELS
        )
        for k, mu in enumerate(mus)
    ]
    return Belt(mus, np.stack(rows), toys)


def toy_t(
    simulated: Simulated, mu: float, toys: int, largest_mu: float, rng: np.random.Generator
) -> Float[np.ndarray, " toys"]:
    """t(µ) of data sets drawn at µ, against the best fit between 0 and the largest µ.

    Raises:
        InputError: if a cell has a negative weight.
    """
    negative = np.count_nonzero(simulated.weight < 0)
    if negative:
        raise InputError(
            f"interference: {negative} of {len(simulated.weight)} cells have negative weights, "
            "and no toys can be drawn from them; simulate more events, or set interference.toys: 0"
        )
    drawn = rng.poisson(simulated.weight * simulated.terms.at(mu), (toys, len(simulated.weight)))
    roots = root_grid(largest_mu)
    values = minus_two_ln_l(drawn, simulated.terms, simulated.yields, roots)
    at_mu = minus_two_ln_l(drawn, simulated.terms, simulated.yields, np.array([np.sqrt(mu)]))[:, 0]
    return np.maximum(at_mu - np.minimum(lowest(values, roots)[1], at_mu), 0.0)


def root_grid(largest_mu: float) -> Float[np.ndarray, " points"]:
    """√µ from 0 to its largest value."""
    return np.linspace(0, np.sqrt(largest_mu), ROOTS)


def minus_two_ln_l(
    number: Shaped[np.ndarray, "sets cells"],
    terms: Terms,
    yields: Terms,
    roots: Float[np.ndarray, " points"],
) -> Float[np.ndarray, "sets points"]:
    """Of many data sets at given √µ, but for a constant of each set.

    Args:
        number: events of each cell in each set.
        terms: of the cells.
        yields: expected numbers of events, one value each.
        roots: √µ.
    """
    logs = np.stack([np.log(terms.at(root**2)) for root in roots], axis=1)
    expected = np.array([yields.at(root**2)[0] for root in roots])
    return 2 * (expected - number @ logs)


def interval(
    likelihood: InterferenceLikelihood, found: Belt, level: int
) -> tuple[tuple[float, float], ...]:
    """Where the observed t(µ) is no larger than critical, several parts if it must be.

    Args:
        likelihood: of the observed (or Asimov) data.
        found: critical values.
        level: 0 for 68.3 %, 1 for 95 %.
    """
    # linear between the points of the grid in √µ, in which t is smooth
    roots = np.linspace(0, np.sqrt(found.mu[-1]), 40 * (len(found.mu) - 1) + 1)
    critical = np.interp(roots, np.sqrt(found.mu), found.critical[:, level])
    inside = np.array([likelihood.t(root**2) for root in roots]) <= critical
    mu = roots**2
    return tuple((float(mu[first]), float(mu[last])) for first, last in runs(inside))


def lowest(
    values: Float[np.ndarray, "sets points"], roots: Float[np.ndarray, " points"]
) -> tuple[Float[np.ndarray, " sets"], Float[np.ndarray, " sets"]]:
    """Where each set is lowest, and how low.

    It is the minimum of the parabola through the lowest point and its neighbours, or an end.

    Args:
        values: of each set at √µ on an even grid.
        roots: the grid.

    Returns:
        √µ there, and the value.
    """
    at = values.argmin(axis=1)
    inner = np.clip(at, 1, values.shape[1] - 2)
    rows = np.arange(len(values))
    low, middle, high = (values[rows, inner + k] for k in (-1, 0, 1))
    bend, slope = (low + high) / 2 - middle, (high - low) / 2
    bowl = (bend > 0) & (np.abs(slope) <= 2 * bend)
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.where(bowl, slope**2 / (4 * bend), 0.0)
        step = np.where(bowl, -slope / (2 * bend), at - inner)
    where = roots[inner] + step * (roots[1] - roots[0])
    return where, np.minimum(values[rows, at], middle - fall)
