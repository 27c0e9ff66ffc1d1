"""How well a score separates: ROC curve, AUC and background rejection, with errors.

Weights may be negative: all sums are signed. Errors are those of the simulated samples; entries
that share an event (jets) have their contributions added up before squaring.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from hepml.data.entries import root_sum_square


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
    event: Integer[np.ndarray, " events"] | None = None,
) -> Estimate:
    """Area under the ROC curve: P(signal score > background score) + ½ P(equal).

    The error generalises DeLong et al., Biometrics 44 (1988) 837, to weights: with V the share of
    the other class that an entry wins against, w(V-A)/Σw is its influence, where the sum is that
    of its class, and the variance is the sum over events of their squared influence.

    Args:
        score: larger means more signal-like.
        signal: True for signal.
        weight: of any sign, with a positive sum in each class.
        event: identity of the event of each entry; None if each is an event of its own.

    Returns:
        AUC and its error.
    """
    area, influence = _auc_and_influence(score, signal, weight)
    return Estimate(area, root_sum_square(influence, event))


def auc_difference(
    scores: tuple[Float[np.ndarray, " events"], Float[np.ndarray, " events"]],
    signal: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
    event: Integer[np.ndarray, " events"] | None = None,
) -> Estimate:
    """AUC of the first score less that of the second on the same events, with its paired error.

    The influences of an event on both areas are subtracted before squaring, so that what is common
    to both scores drops out of the error (DeLong et al., Biometrics 44 (1988) 837).

    Args:
        scores: two scores of the same events.
        signal: True for signal.
        weight: of any sign, with a positive sum in each class.
        event: identity of the event of each entry; None if each is an event of its own.
    """
    first, second = (_auc_and_influence(score, signal, weight) for score in scores)
    return Estimate(first[0] - second[0], root_sum_square(first[1] - second[1], event))


def _auc_and_influence(
    score: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
) -> tuple[float, Float[np.ndarray, " events"]]:
    """The area, and how much each entry moves it."""
    wins = _share_below(score[signal], score[~signal], weight[~signal])
    losses = 1 - _share_below(score[~signal], score[signal], weight[signal])
    area = float(np.average(wins, weights=weight[signal]))
    influence = np.empty(len(score))
    for of_class, share in ((signal, wins), (~signal, losses)):
        influence[of_class] = weight[of_class] * (share - area) / weight[of_class].sum()
    return area, influence


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
    minimum_background: int = 1,
    event: Integer[np.ndarray, " events"] | None = None,
) -> Estimate | None:
    """Background rejection 1/ε_B at a signal efficiency, with error.

    Var(ε_B) is that of the background sample plus (dε_B/dε_S)² times that of the signal sample,
    which moves the threshold; the slope is taken over a few signal errors. Correlations of the two
    classes, where one event has entries of both, are left out.

    Args:
        score: larger means more signal-like.
        signal: True for signal.
        weight: of any sign, with a positive sum in each class.
        signal_efficiency: at which.
        minimum_background: raw background entries that must pass.
        event: identity of the event of each entry; None if each is an event of its own.

    Returns:
        The rejection; None where too little background passes.
    """
    curve = roc_curve(score, signal, weight)
    rising = np.maximum.accumulate(curve.signal)
    crossed = min(int(np.searchsorted(rising, signal_efficiency - 1e-12)), len(rising) - 1)
    passed = score >= curve.threshold[crossed]
    of_signal, of_background = (
        efficiency(passed[of_class], weight[of_class], None if event is None else event[of_class])
        for of_class in (signal, ~signal)
    )
    if of_background.value <= 0 or np.count_nonzero(passed & ~signal) < minimum_background:
        return None
    step = min(max(3 * of_signal.error, 0.01), signal_efficiency, 1 - signal_efficiency)
    around = np.searchsorted(rising, [signal_efficiency - step, signal_efficiency + step])
    near = curve.background[np.minimum(around, len(rising) - 1)]
    return rejection(of_signal, of_background, float(near[1] - near[0]) / (2 * step))


def rejection(signal: Estimate, background: Estimate, slope: float) -> Estimate:
    """1/ε_B of a selection, with the errors of both efficiencies.

    Args:
        signal: efficiency.
        background: efficiency > 0.
        slope: dε_B/dε_S, by which the error of ε_S adds to that of ε_B.
    """
    error = np.hypot(background.error, slope * signal.error)
    return Estimate(1 / background.value, float(error / background.value**2))


def efficiency(
    passed: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
    event: Integer[np.ndarray, " events"] | None = None,
) -> Estimate:
    """Weighted share of entries that pass: var = Σ (Σ w (pass - ε) of an event)² / (Σ w)².

    For equal weights and one entry per event the binomial √(ε(1-ε)/n).
    """
    total = weight.sum()
    share = float(weight[passed].sum() / total)
    return Estimate(share, root_sum_square(weight * (passed - share) / total, event))
