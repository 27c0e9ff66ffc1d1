"""How well a score separates: ROC curve, AUC and background rejection, with errors.

Weights may be negative: all sums are signed. Errors are those of the simulated samples.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Estimate:
    """A number and its standard error."""

    value: float
    error: float


@dataclass(frozen=True)
class Curve:
    """Efficiencies of both classes above each of some thresholds, which fall.

    Attributes:
        threshold: on the score.
        signal: signal efficiency.
        background: background efficiency.
    """

    threshold: Float[np.ndarray, " points"]
    signal: Float[np.ndarray, " points"]
    background: Float[np.ndarray, " points"]


def weighted_auc(
    score: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
) -> Estimate:
    """Area under the ROC curve: P(signal score > background score) + ½ P(equal).

    The error generalises DeLong et al., Biometrics 44 (1988) 837, to weights: with V the share of
    the other class that an event wins against, var = Σ_S w²(V-A)²/(Σ_S w)² + the same over B.

    Args:
        score: larger means more signal-like.
        signal: True for signal.
        weight: of any sign, with a positive sum in each class.

    Returns:
        AUC and its error.
    """
    wins = _share_below(score[signal], score[~signal], weight[~signal])
    losses = 1 - _share_below(score[~signal], score[signal], weight[signal])
    area = float(np.average(wins, weights=weight[signal]))
    variance = 0.0
    for share, w in ((wins, weight[signal]), (losses, weight[~signal])):
        variance += float(np.sum((w * (share - area)) ** 2) / w.sum() ** 2)
    return Estimate(area, variance**0.5)


def _share_below(
    score: Float[np.ndarray, " mine"],
    others: Float[np.ndarray, " others"],
    weight: Float[np.ndarray, " others"],
) -> Float[np.ndarray, " mine"]:
    """Weighted share of the others that each of my scores exceeds; ties count half."""
    order = np.argsort(others, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weight[order])])
    first = np.searchsorted(others[order], score, side="left")
    last = np.searchsorted(others[order], score, side="right")
    return (below[first] + below[last]) / (2 * below[-1])


def roc_curve(
    score: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
) -> Curve:
    """Efficiencies above every distinct score, from (0, 0) to (1, 1).

    With negative weights the curve need not rise everywhere.
    """
    order = np.argsort(-score, kind="stable")
    ordered = score[order]
    last_of_tie = np.append(ordered[1:] != ordered[:-1], True)
    efficiencies = []
    for of_class in (signal, ~signal):
        passed = np.cumsum(np.where(of_class, weight, 0.0)[order])
        efficiencies.append(np.concatenate([[0.0], (passed / passed[-1])[last_of_tie]]))
    return Curve(np.concatenate([[np.inf], ordered[last_of_tie]]), *efficiencies)


def thinned(curve: Curve, points: int) -> Curve:
    """At most so many points of a curve, evenly spread in signal efficiency."""
    wanted = np.linspace(0, 1, points)
    rising = np.maximum.accumulate(curve.signal)
    kept = np.unique(np.minimum(np.searchsorted(rising, wanted - 1e-12), len(rising) - 1))
    return Curve(curve.threshold[kept], curve.signal[kept], curve.background[kept])


def rejection_at(
    score: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
    signal_efficiency: float,
) -> Estimate | None:
    """Background rejection 1/ε_B at a signal efficiency, with error.

    Var(ε_B) is that of the background sample plus (dε_B/dε_S)² times that of the signal sample,
    which moves the threshold; the slope is taken over a few signal errors.

    Returns:
        The rejection; None where no background passes.
    """
    curve = roc_curve(score, signal, weight)
    rising = np.maximum.accumulate(curve.signal)
    crossed = min(int(np.searchsorted(rising, signal_efficiency - 1e-12)), len(rising) - 1)
    passed = score >= curve.threshold[crossed]
    of_signal = efficiency(passed[signal], weight[signal])
    of_background = efficiency(passed[~signal], weight[~signal])
    if of_background.value <= 0:
        return None
    step = min(max(3 * of_signal.error, 0.01), signal_efficiency, 1 - signal_efficiency)
    around = np.searchsorted(rising, [signal_efficiency - step, signal_efficiency + step])
    near = curve.background[np.minimum(around, len(rising) - 1)]
    slope = (near[1] - near[0]) / (2 * step)
    error = np.hypot(of_background.error, slope * of_signal.error)
    return Estimate(1 / of_background.value, float(error / of_background.value**2))


def efficiency(
    passed: Bool[np.ndarray, " events"], weight: Float[np.ndarray, " events"]
) -> Estimate:
    """Weighted share of events that pass: var = Σ w² (pass - ε)² / (Σ w)².

    For equal weights the binomial √(ε(1-ε)/n).
    """
    total = weight.sum()
    share = float(weight[passed].sum() / total)
    error = float(np.sqrt(np.sum((weight * (passed - share)) ** 2)) / abs(total))
    return Estimate(share, error)
