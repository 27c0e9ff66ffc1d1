"""The straight line between a network's logit and the log-likelihood ratio.

Platt scaling (Adv. Large Margin Classifiers, 1999, 61) in the logarithm of the ratio:
LLR = slope · x + offset minimises the cross-entropy of balanced classes. It is strictly monotone,
so that no event overtakes another and the tails stay.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

# of the prior: slopes of networks trained on 600 events differ from 1 by 0.15, of more by less
WIDTH = 0.2
_STEPS = 100
_HALVINGS = 40
_FLAT = 1e-14  # curvature in one direction over that in the other

Free = Literal["both", "slope", "offset"]


@dataclass(frozen=True)
class Line:
    """LLR = slope · x + offset."""

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, x: Float[np.ndarray, " events"]) -> Float[np.ndarray, " events"]:
        """Log-likelihood ratio of each event."""
        return self.slope * x + self.offset


IDENTITY = Line()


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
    free: Free = "both",
    start: Line = IDENTITY,
) -> Line:
    """Slope and offset of the lowest cross-entropy.

    Newton's method. The function is convex for positive weights; with negative ones it need not
    be, and the size of a negative curvature is taken, so that steps go down.

    Args:
        x: logits less the logarithm of the prior odds.
        signal: True for signal.
        weight: of any sign, with a positive sum in each class.
        width: of a normal prior of slope and offset around 1 and 0, in which the events count as
            (Σw)²/Σw² of equal weight; it keeps the line of a few events near the identity and does
            nothing to that of many. None for no prior.
        free: what is fitted; the other stays as in ``start``.
        start: of the search.

    Raises:
        ValueError: if there is no lowest cross-entropy, as with classes that do not overlap.
    """
    share = balanced(weight, signal)
    strength = 0.0 if width is None else np.square(share).sum() / width**2
    design = np.stack([x, np.ones_like(x)])
    wrong_side = np.where(signal, -1.0, 1.0)
    moves = np.array([free != "offset", free != "slope"])
    identity = np.array([1.0, 0.0])

    def loss(at: Float[np.ndarray, "2"]) -> float:
        entropy = share @ np.logaddexp(0, wrong_side * (at @ design))
        return float(entropy + strength / 2 * np.square(at - identity).sum())

    at = np.array([start.slope, start.offset])
    for _ in range(_STEPS):
        gradient, hessian = derivatives(design, at, share, signal)
        gradient = gradient + strength * (at - identity)
        step = _step(gradient, hessian + strength * np.eye(2), moves)
        if np.abs(step).max() < 1e-10:
            return Line(float(at[0]), float(at[1]))
        at = _lowered(loss, at, step)
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


def gradients(
    design: Float[np.ndarray, "2 events"],
    at: Float[np.ndarray, "2"],
    share: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
) -> Float[np.ndarray, "2 events"]:
    """What each event adds to the gradient of the cross-entropy.

    Classes are normalised to their own sums, which therefore do not fluctuate: each class adds up
    to zero.
    """
    of_each = share * (expit(at @ design) - signal) * design
    for chosen in (signal, ~signal):
        of_class = of_each[:, chosen].sum(axis=1) / share[chosen].sum()
        of_each[:, chosen] -= of_class[:, None] * share[chosen]
    return of_each


def _step(
    gradient: Float[np.ndarray, "2"],
    hessian: Float[np.ndarray, "2 2"],
    moves: Bool[np.ndarray, "2"],
) -> Float[np.ndarray, "2"]:
    """Newton's step downwards, at most 1 long in each of the parameters that move.

    Raises:
        ValueError: if the function is flat in some direction.
    """
    curvature, directions = np.linalg.eigh(hessian[np.ix_(moves, moves)])
    size = np.abs(curvature)
    if not size.min() > _FLAT * size.max():
        raise ValueError(
            "calibration: every line does as well, because the logits do not vary or the classes "
            "do not overlap"
        )
    step = np.zeros(2)
    step[moves] = -directions @ ((directions.T @ gradient[moves]) / size)
    # a long step may leave the region in which the quadratic form holds
    return step / max(1.0, float(np.abs(step).max()))


def _lowered(
    loss: Callable[[np.ndarray], float], at: Float[np.ndarray, "2"], step: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "2"]:
    """A step, halved until it does not climb by more than rounding."""
    before = loss(at)
    for _ in range(_HALVINGS):
        if loss(at + step) <= before + 1e-13 * abs(before):
            break
        step = step / 2
    return at + step
