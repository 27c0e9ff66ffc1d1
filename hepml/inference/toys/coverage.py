"""Whether intervals cover: toy data sets, with their auxiliary measurements, fitted one and all.

For each toy drawn at a true µ, t(µ) is compared with the quantile of χ² that Wilks' theorem
promises, and the pull is (µ̂ - µ)/σ̂. Nuisance parameters are true at their nominal values; what
was measured of them fluctuates.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2

from hepml.inference.likelihood import BinnedLikelihood, Measured, best_fit
from hepml.inference.model import Model
from hepml.inference.newton import covariance
from hepml.inference.toys.fits import draw

LEVELS = (0.6826894921370859, 0.95)


@dataclass(frozen=True)
class Coverage:
    """How often intervals hold the true µ, and pulls.

    Attributes:
        mu: true.
        toys: how many.
        covered: share of toys whose 68.3 % and 95 % interval holds µ.
        errors: binomial, at the nominal levels.
        pull_mean: of (µ̂ - µ)/σ̂.
        pull_width: its standard deviation.
    """

    mu: float
    toys: int
    covered: tuple[float, float]
    errors: tuple[float, float]
    pull_mean: float
    pull_width: float


def binned_coverage(model: Model, mu: float, toys: int, seed: int) -> Coverage:
    """Of the binned fit, all nuisance parameters profiled.

    Args:
        model: what is expected; one set.
        mu: true signal strength.
        toys: how many data sets.
        seed: of their generator.
    """
    return _fitted(model, draw(model, mu, toys, np.random.default_rng(seed)), mu)


def unbinned_coverage(
    ratio: Float[np.ndarray, " cells"], model: Model, mu: float, toys: int, seed: int
) -> Coverage:
    """Of the unbinned fit, all nuisance parameters profiled.

    Cells are so narrow that the likelihood ratio of each event is that of its cell: then the binned
    likelihood without errors of the simulation is the unbinned one.

    Args:
        ratio: density of signal over that of background in each cell, which the fit believes.
        model: expected events of each cell, from which toys are drawn; one set, signal first.
        mu: true signal strength.
        toys: how many data sets.
        seed: of their generator.
    """
    believed = ratio * model.nominal[0, 1]
    nominal = model.nominal.copy()
    nominal[0, 0] = believed * model.nominal[0, 0].sum() / believed.sum()
    return _fitted(
        replace(model, nominal=nominal), draw(model, mu, toys, np.random.default_rng(seed)), mu
    )


def _fitted(model: Model, data: Measured, mu: float) -> Coverage:
    likelihood = BinnedLikelihood(model, data)
    best = best_fit(likelihood)
    t = likelihood.value(best_fit(likelihood, mu)) - likelihood.value(best)
    _, hessian, _ = likelihood.derivatives(best)
    sigma = np.sqrt(covariance(hessian, np.ones_like(best, dtype=bool))[:, 0, 0])
    return coverage(mu, t, (best[:, 0] - mu) / sigma)


def coverage(
    mu: float, t: Float[np.ndarray, " toys"], pull: Float[np.ndarray, " toys"]
) -> Coverage:
    """Summary of toys."""
    covered = [float(np.mean(t < chi2.ppf(level, 1))) for level in LEVELS]
    errors = [float(np.sqrt(level * (1 - level) / len(t))) for level in LEVELS]
    return Coverage(
        mu,
        len(t),
        (covered[0], covered[1]),
        (errors[0], errors[1]),
        float(pull.mean()),
        float(pull.std(ddof=1)),
    )
