"""Confidence intervals of µ by toys where Wilks' theorem fails: Neyman's construction.

With interference the likelihood depends on √µ, and µ ends at 0: there t(µ) of data drawn at µ does
not follow a χ² of one degree of freedom. For each µ the quantile of t(µ) in toys drawn at µ takes
the place of 1 and 3.84; µ belongs to the interval if the t(µ) observed is no larger.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hepml.inference.interference import InterferenceLikelihood, Terms, runs

LEVELS = (0.6826894921370859, 0.95)
ROOTS = 81  # points in √µ between which a parabola finds the minimum


@dataclass(frozen=True)
class Simulated:
    """Events that toys are drawn from.

    Attributes:
        terms: of S, SBI and B for each event.
        weight: of the reference measure, such that Σ weight λ(µ) = ν(µ).
        yields: expected numbers of events of S, SBI and B, one value each.
    """

    terms: Terms
    weight: Float[np.ndarray, " events"]
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
    """t(µ) of data sets drawn at µ, against the best fit between 0 and the largest µ."""
    chosen, toy = _drawn(simulated, mu, toys, rng)
    terms = simulated.terms
    logs = np.empty((toys, ROOTS))
    roots = np.linspace(0, np.sqrt(largest_mu), ROOTS)
    expected = np.array([simulated.yields.at(root**2)[0] for root in roots])
    for k, root in enumerate(roots):
        logs[:, k] = np.bincount(toy, np.log(terms.at(root**2))[chosen], toys)
    values = 2 * (expected - logs)
    at_mu = 2 * (simulated.yields.at(mu)[0] - np.bincount(toy, np.log(terms.at(mu))[chosen], toys))
    return np.maximum(at_mu - np.minimum(_least(values), at_mu), 0.0)


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


def _drawn(
    simulated: Simulated, mu: float, toys: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " drawn"], Int[np.ndarray, " drawn"]]:
    """Simulated events that are drawn, and the toy each belongs to."""
    rate = np.cumsum(simulated.weight * simulated.terms.at(mu))
    sizes = rng.poisson(simulated.yields.at(mu)[0], toys)
    chosen = np.searchsorted(rate, rng.random(sizes.sum()) * rate[-1], side="right")
    return np.minimum(chosen, len(rate) - 1), np.repeat(np.arange(toys), sizes)


def _least(values: Float[np.ndarray, "toys points"]) -> Float[np.ndarray, " toys"]:
    """Minimum of the parabola through the lowest point and its neighbours; that point at an end."""
    at = values.argmin(axis=1)
    inner = np.clip(at, 1, values.shape[1] - 2)
    rows = np.arange(len(values))
    low, middle, high = (values[rows, inner + k] for k in (-1, 0, 1))
    bend, slope = (low + high) / 2 - middle, (high - low) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.where((bend > 0) & (np.abs(slope) <= 2 * bend), slope**2 / (4 * bend), 0.0)
    return np.minimum(values[rows, at], middle - fall)
