"""-2Δln L of µ by every estimator on identical events: what each step to a mere count loses.

All share one model: µ = 1 Asimov data, and an uncertain normalisation of the background. The
statistics of the simulated events and other systematics are left out, because not every estimator
has them alike. An estimator that knows less can then only have a larger σ(µ): unbinned ≤ binned ≤
counting.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.inference.binned import AsimovFit
from hepml.inference.events import Yields
from hepml.inference.likelihood import signal_strength_error
from hepml.inference.model import simple_model
from hepml.inference.unbinned import Data, Scan, background_normalisation

POINTS = 33


@dataclass(frozen=True)
class Curve:
    """t(µ) = -2Δln L of one estimator, between µ = 0 (or 3.2 σ below 1) and 3.2 σ above 1.

    Attributes:
        estimator: "unbinned", "binned", "counting" at the working point, or "all events" counted.
        mu: signal strengths.
        t: at these.
        sigma: error of µ from the curvature at the best fit.
    """

    estimator: str
    mu: list[float]
    t: list[float]
    sigma: float


def likelihood_curves(
    yields: Yields,
    passed: tuple[float, float],
    shape: Data | None,
    background_uncertainty: float,
) -> list[Curve]:
    """Curves of all estimators a method has, from the most to the least informed.

    Args:
        yields: of the bins that are fitted.
        passed: signal and background of the working point.
        shape: data of the unbinned fit; None for cuts.
        background_uncertainty: relative.
    """
    s, b = yields.signal, yields.background
    curves = []
    if shape is not None:
        cells = shape.ratio.shape[1]
        scan = Scan(shape, background_normalisation(background_uncertainty, cells))
        sigma = float(scan.best.sigma_mu[0])
        mu = _range(float(scan.best.mu[0]), sigma)
        curves.append(Curve("unbinned", mu.tolist(), [scan.t(x) for x in mu], sigma))
    total = np.array([s.sum()]), np.array([b.sum()])
    counted = np.array([passed[0]]), np.array([passed[1]])
    for name, contents in (("binned", (s, b)), ("counting", counted), ("all events", total)):
        curves.append(_of_histogram(name, contents, background_uncertainty))
    return curves


def _of_histogram(
    name: str,
    contents: tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]],
    background_uncertainty: float,
) -> Curve:
    s, b = contents
    model = simple_model(s[None], b[None], 0 * b[None], background_uncertainty)
    sigma = float(signal_strength_error(model)[0])
    likelihood = AsimovFit(model, 1.0)
    mu = _range(1.0, sigma)
    return Curve(name, mu.tolist(), [likelihood.root_t(x) ** 2 for x in mu], sigma)


def _range(best: float, sigma: float) -> Float[np.ndarray, " points"]:
    reach = 3.2 * sigma
    return np.linspace(max(best - reach, 0.0), best + reach, POINTS)
