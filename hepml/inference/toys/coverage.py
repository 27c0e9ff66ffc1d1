"""Whether intervals cover: toy data sets, with their auxiliary measurements, fitted one and all.

For each toy drawn at a true µ, t(µ) is compared with the quantile of χ² that Wilks' theorem
promises, and the pull is (µ̂ - µ)/σ̂. Nuisance parameters are true at their nominal values; what
was measured of them fluctuates.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.stats import chi2

from hepml.inference.toys.fits import ToyData, ToyModel, fit_toys

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


def binned_coverage(model: ToyModel, mu: float, toys: int, seed: int) -> Coverage:
    """Of the binned fit, normalisation and statistics of the simulation profiled.

    Args:
        model: what is expected.
        mu: true signal strength.
        toys: how many data sets.
        seed: of their generator.
    """
    rng = np.random.default_rng(seed)
    shape = toys, len(model.signal)
    data = ToyData(
        rng.poisson(mu * model.signal + model.background, shape).astype(float),
        1 + model.relative_error * rng.normal(size=shape),
        rng.normal(size=toys) * (model.uncertainty > 0),
    )
    best = fit_toys(model, data)
    t = fit_toys(model, data, mu).value - best.value
    return coverage(mu, t, (best.mu - mu) / best.sigma_mu)


def unbinned_coverage(
    ratio: Float[np.ndarray, " cells"], model: ToyModel, mu: float, toys: int, seed: int
) -> Coverage:
    """Of the unbinned fit, the normalisation of the background profiled.

    Cells are so narrow that the likelihood ratio of each event is that of its cell: then the binned
    likelihood without errors of the simulation is the unbinned one.

    Args:
        ratio: density of signal over that of background in each cell, which the fit believes.
        model: expected events of each cell, from which toys are drawn.
        mu: true signal strength.
        toys: how many data sets.
        seed: of their generator.
    """
    believed = ratio * model.background
    fitted = ToyModel(
        believed * model.signal.sum() / believed.sum(),
        model.background,
        np.zeros_like(ratio),
        model.uncertainty,
    )
    rng = np.random.default_rng(seed)
    expected = mu * model.signal + model.background
    data = ToyData(
        rng.poisson(expected, (toys, len(ratio))).astype(float),
        np.ones((toys, len(ratio))),
        rng.normal(size=toys) * (model.uncertainty > 0),
    )
    best = fit_toys(fitted, data)
    t = fit_toys(fitted, data, mu).value - best.value
    return coverage(mu, t, (best.mu - mu) / best.sigma_mu)


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
