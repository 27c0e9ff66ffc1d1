"""Selections chosen for each fold on the events of the other folds, and what they keep.

The outcomes of the folds are then summed. Cut values of a fold are chosen without its events, and
so is a network's threshold, but on scores of the other networks, which trained on that fold. The
minimum of raw background events is tightened by looking at the sum of all folds. Both are one
number each; docs/decisions/0002 has the reasons.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Integer

from hepml.config import Cut
from hepml.errors import InputError
from hepml.inference.counting import asimov_significance
from hepml.inference.cuts import best_bounds, inside
from hepml.inference.events import Events, Yields, yields_in_cells, yields_of_events
from hepml.inference.goals import Goal

# the constraint is tightened by these factors if the sum over folds falls just short of it
TIGHTENED = (1.0, 1.3, 1.7, 2.0)


@dataclass(frozen=True)
class Selection:
    """One rectangular selection per fold.

    Attributes:
        cuts: what is cut on.
        bounds: low and high end per fold and cut.
        passed: which events the selection of their own fold keeps.
        minimum_background: raw events asked for outside the fold.
    """

    cuts: tuple[Cut, ...]
    bounds: Float[np.ndarray, "folds cuts 2"]
    passed: Bool[np.ndarray, " events"]
    minimum_background: int


def select(
    cuts: tuple[Cut, ...], variables: Float[np.ndarray, "cuts events"], events: Events, goal: Goal
) -> Selection:
    """Optimise on the other folds, apply to each fold.

    For one threshold, ``minimum_background`` events outside each fold leave at least as many in
    the sum over folds: the first so many of all events pass in any case. For several cuts
    that is not certain, so the requirement outside the folds is tightened until it holds.

    Raises:
        InputError: if the constraint cannot be met.
    """
    for factor in TIGHTENED:
        required = int(np.ceil(factor * goal.minimum_background))
        tightened = replace(goal, minimum_background=required)
        bounds = np.stack(
            [
                best_bounds(cuts, variables[:, events.fold != k], events.others(k), tightened)
                for k in range(events.folds)
            ]
        )
        passed = passes(variables, events.fold, bounds)
        kept = passed_and_failed(events, passed)
        enough = kept.raw_background[1] >= goal.minimum_background
        if enough and kept.background[1] > 0 and kept.signal[1] > 0:
            return Selection(cuts, bounds, passed, required)
    raise InputError(
        f"inference: the selections on {', '.join(cut.variable for cut in cuts)} keep "
        f"{kept.signal[1]:.4g} expected signal and {kept.background[1]:.4g} expected background "
        f"events ({kept.raw_background[1]:.0f} raw, {goal.minimum_background} needed); lower "
        "inference.minimum_background or add background events"
    )


def passes(
    variables: Float[np.ndarray, "cuts events"],
    fold: Integer[np.ndarray, " events"],
    bounds: Float[np.ndarray, "folds cuts 2"],
) -> Bool[np.ndarray, " events"]:
    """Which events the selection of their own fold keeps."""
    passed = np.zeros(len(fold), bool)
    for k, own in enumerate(bounds):
        of_fold = fold == k
        passed[of_fold] = inside(variables[:, of_fold], own)
    return passed


def passed_and_failed(events: Events, passed: Bool[np.ndarray, " events"]) -> Yields:
    """Yields of what fails (first) and what passes (second)."""
    return yields_of_events(events, passed.astype(np.int64), 2)


@dataclass(frozen=True)
class Scan:
    """Significance against the threshold on a score.

    Attributes:
        threshold: mean over the folds.
        signal_efficiency: reached.
        background_efficiency: reached.
        significance: counting, with background uncertainty.
        error: from the statistics of the simulated samples.
    """

    threshold: Float[np.ndarray, " points"]
    signal_efficiency: Float[np.ndarray, " points"]
    background_efficiency: Float[np.ndarray, " points"]
    significance: Float[np.ndarray, " points"]
    error: Float[np.ndarray, " points"]


def scan_thresholds(
    score: Float[np.ndarray, " events"],
    events: Events,
    signal_efficiency: Float[np.ndarray, " efficiencies"],
    background_uncertainty: float,
    minimum_background: int,
) -> Scan:
    """Significance at thresholds of given signal efficiency, set on the other folds.

    Points that keep too few background events are left out. Errors take every entry as an event
    of its own, and thresholds as given.
    """
    thresholds = signal_thresholds(score, events, signal_efficiency)  # folds, efficiencies
    points = thresholds.shape[1]
    cell = np.zeros(len(score), np.int64)
    for k in range(events.folds):
        of_fold = events.fold == k
        # thresholds fall with efficiency: an event passes from its cell on
        above = np.searchsorted(-thresholds[k], -score[of_fold], side="left")
        cell[of_fold] = above
    sums = yields_in_cells(events, cell, points + 1)
    s, b, ss, bb, raw = (
        np.cumsum(x)[:-1]
        for x in (
            sums.signal,
            sums.background,
            sums.signal_variance,
            sums.background_variance,
            sums.raw_background,
        )
    )
    good = (raw >= minimum_background) & (b > 0) & (s > 0)
    s, b, ss, bb = s[good], b[good], ss[good], bb[good]
    return Scan(
        threshold=thresholds.mean(axis=0)[good],
        signal_efficiency=s / sums.signal.sum(),
        background_efficiency=b / sums.background.sum(),
        significance=asimov_significance(s, b, background_uncertainty * b),
        error=significance_error(s, b, ss, bb, background_uncertainty),
    )


def signal_thresholds(
    score: Float[np.ndarray, " events"],
    events: Events,
    signal_efficiency: Float[np.ndarray, " efficiencies"],
) -> Float[np.ndarray, "folds efficiencies"]:
    """For each fold, scores above which the signal of the *other* folds has these efficiencies."""
    rows = []
    for k in range(events.folds):
        chosen = events.signal & (events.fold != k)
        order = np.argsort(-score[chosen], kind="stable")
        passed = np.cumsum(events.weight[chosen][order])
        # negative weights: the first crossing
        rising = np.maximum.accumulate(passed / passed[-1])
        where = np.searchsorted(rising, signal_efficiency - 1e-12)
        rows.append(score[chosen][order][np.minimum(where, len(rising) - 1)])
    return np.stack(rows)


def significance_error(
    signal: Float[np.ndarray, " points"],
    background: Float[np.ndarray, " points"],
    signal_variance: Float[np.ndarray, " points"],
    background_variance: Float[np.ndarray, " points"],
    background_uncertainty: float,
) -> Float[np.ndarray, " points"]:
    """Error of the counting significance from simulated statistics, by its gradient in s and b."""

    def z(s: Float[np.ndarray, " points"], b: Float[np.ndarray, " points"]) -> np.ndarray:
        return asimov_significance(s, b, background_uncertainty * b)

    step = 1e-4
    ds = signal * step
    db = background * step
    along_signal = (z(signal + ds, background) - z(signal - ds, background)) / (2 * ds)
    along_background = (z(signal, background + db) - z(signal, background - db)) / (2 * db)
    return np.sqrt(along_signal**2 * signal_variance + along_background**2 * background_variance)
