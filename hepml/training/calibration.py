"""The straight line between a network's logit and the log-likelihood ratio.

Platt scaling (Adv. Large Margin Classifiers, 1999, 61) in the logarithm of the ratio:
LLR = slope · x + offset minimises the cross-entropy of balanced classes. It is strictly monotone,
so that no event overtakes another and the tails stay.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

WIDTH = 0.1  # of the prior of slope and offset: what trained networks differ from 1 and 0 by
_STEPS = 100


@dataclass(frozen=True)
class Line:
    """LLR = slope · x + offset."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, x: Float[np.ndarray, " events"]) -> Float[np.ndarray, " events"]:
        """Log-likelihood ratio of each event."""
        return self.slope * x + self.offset


def balanced(
    weight: Float[np.ndarray, " events"], signal: Bool[np.ndarray, " events"]
) -> Float[np.ndarray, " events"]:
    """Weights of which each class has half of 1."""
    of_class = np.where(signal, weight[signal].sum(), weight[~signal].sum())
    return weight / (2 * of_class)


def fit_line(
    x: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
    width: float | None = None,
) -> Line:
    """Slope and offset of the lowest cross-entropy.

    Newton's method on a convex function.

    Args:
        x: logits less the logarithm of the prior odds.
        signal: True for signal.
        weight: of any sign, with a positive sum in each class.
        width: of a normal prior of slope and offset around 1 and 0, in which the events count as
            (Σw)²/Σw² of equal weight; it keeps the line of a few events near the identity and does
            nothing to that of many. None for no prior.

    Raises:
        ValueError: if there is no lowest cross-entropy, as with classes that do not overlap.
    """
    share = balanced(weight, signal)
    strength = 0.0 if width is None else np.square(share).sum() / width**2
    design = np.stack([x, np.ones_like(x)])
    start = at = np.array([1.0, 0.0])
    for _ in range(_STEPS):
        gradient, hessian = derivatives(design, at, share, signal)
        gradient = gradient + strength * (at - start)
        hessian = hessian + strength * np.eye(2)
        step = -np.linalg.solve(hessian, gradient)
        # a long step may leave the region in which the quadratic form holds
        at = at + step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-10:
            return Line(float(at[0]), float(at[1]))
    raise ValueError(f"calibration: no convergence, slope and offset at {at.tolist()}")


def derivatives(
    design: Float[np.ndarray, "2 events"],
    at: Float[np.ndarray, "2"],
    share: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2 2"]]:
    """Gradient and Hessian of the cross-entropy with respect to slope and offset."""
    p = expit(at @ design)
    gradient = design @ (share * (p - signal))
    hessian = (design * (share * p * (1 - p))) @ design.T
    return gradient, hessian
