"""Toy data sets of a binned fit: drawn with their auxiliary measurements, and tested for signal."""

import numpy as np
from jaxtyping import Float

from hepml.inference.likelihood import BinnedLikelihood, Measured, best_fit
from hepml.inference.model import Model


def draw(model: Model, mu: float, toys: int, rng: np.random.Generator) -> Measured:
    """Data sets at nominal nuisance parameters; what is measured of these fluctuates.

    Args:
        model: what is expected; its first set.
        mu: true signal strength.
        toys: how many data sets.
        rng: random numbers.
    """
    expected = (mu * model.total_signal + model.total_background)[0]
    shape = toys, len(expected)
    return Measured(
        rng.poisson(expected, shape).astype(float),
        1 + model.relative_error[0] * rng.normal(size=shape),
        rng.normal(size=(toys, model.sources)),
    )


def discovery_q(model: Model, data: Measured) -> Float[np.ndarray, " sets"]:
    """q₀ of each set: -2 ln L(µ = 0)/L(µ̂), and 0 where µ̂ < 0."""
    likelihood = BinnedLikelihood(model, data)
    without = best_fit(likelihood, 0.0)
    value, (gradient, *_) = likelihood.value(without), likelihood.derivatives(without)
    excess = gradient[:, 0] < 0  # -ln L falls with µ
    q = np.zeros(len(excess))
    if excess.any():
        some = BinnedLikelihood(model, data.only(excess))
        best = best_fit(some, start=without[excess])
        q[excess] = np.maximum(value[excess] - some.value(best), 0.0)
    return q
