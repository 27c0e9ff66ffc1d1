"""Bins of the score: slices of equal signal efficiency, as many as pay, merged until each is safe.

How many slices, and where they begin, is chosen for each fold on the other folds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from hepml.errors import InputError
from hepml.inference.counting import asimov_significance_gaussian
from hepml.inference.events import Events, Yields, yields_in_cells, yields_of_events
from hepml.inference.selection import signal_thresholds

LARGEST_RELATIVE_ERROR = 0.3  # of the simulated background in a bin
LEAST_GAIN = 0.01  # relative, of Z: twice as many slices must bring more


@dataclass(frozen=True)
class Binning:
    """Which bin each event is in; the last bin is the most signal-like.

    Attributes:
        bin_of_event: 0 .. bins - 1; bins where the event is in none that is fitted.
        yields: sums per bin.
        edges: of the score for each fold, with infinite ends; None for passed and failed.
        slices: how many there were before merging; None likewise.
    """

    bin_of_event: Int[np.ndarray, " events"]
    yields: Yields
    edges: Float[np.ndarray, "folds edges"] | None
    slices: int | None = None


def bin_score(
    score: Float[np.ndarray, " events"],
    events: Events,
    largest_slices: int,
    minimum_background: int,
) -> Binning:
    """Slice a score into equal signal efficiencies and merge slices from the signal end.

    The edges of each fold are signal quantiles of the other folds, so a slice means the same in
    each and slices are summed over folds. Their number is doubled as long as that raises Z on the
    other folds by more than 1 %; of the folds' choices the smallest is taken for all. Only ranks
    enter: a monotone transform of the score changes nothing. Which slices are merged follows from
    the raw background counts of the sum and is the same for all folds; it makes bins valid, it
    does not maximise anything.

    Raises:
        InputError: if not even all slices together make a valid bin.
    """
    slices = _slices_that_pay(score, events, largest_slices, minimum_background)
    inner = _inner_edges(score, events, slices)
    ends = np.full((events.folds, 1), np.inf)
    edges = np.hstack([-ends, inner, ends])
    slice_of_event = slice_of_score(score, events.fold, inner)
    sums = yields_of_events(events, slice_of_event, slices)
    first = merged_from_signal_end(sums, minimum_background)
    bin_of_event = np.searchsorted(first, slice_of_event, side="right") - 1
    kept = np.append(first, slices)
    yields = yields_of_events(events, bin_of_event, len(first))
    return Binning(bin_of_event, yields, edges[:, kept], slices)


def slice_of_score(
    score: Float[np.ndarray, " events"],
    fold: Integer[np.ndarray, " events"],
    inner: Float[np.ndarray, "folds inner"],
) -> Int[np.ndarray, " events"]:
    """Slice of each event between the inner edges of its own fold."""
    found = np.zeros(len(score), np.int64)
    for k, edges in enumerate(inner):
        of_fold = fold == k
        found[of_fold] = np.searchsorted(edges, score[of_fold], side="right")
    return found


def numbers_of_slices(largest: int) -> list[int]:
    """What is tried: the largest number, halved again and again down to 2 or 3, rising."""
    tried = [largest]
    while tried[-1] > 3:
        tried.append(tried[-1] // 2)
    return tried[::-1]


def _inner_edges(
    score: Float[np.ndarray, " events"], events: Events, slices: int
) -> Float[np.ndarray, "folds inner"]:
    """Between slices of equal signal efficiency on the other folds, rising."""
    return signal_thresholds(score, events, np.arange(1, slices) / slices)[:, ::-1]


def _slices_that_pay(
    score: Float[np.ndarray, " events"], events: Events, largest: int, minimum_background: int
) -> int:
    """The most slices that every fold would choose, looking at the other folds alone."""
    tried = numbers_of_slices(largest)
    finest = tried[-1]
    for k in range(events.folds):
        chosen, before = tried[0], 0.0
        for slices in tried:
            found = _significance_outside(score, events, (k, slices), minimum_background)
            if found <= (1 + LEAST_GAIN) * before:
                break
            chosen, before = slices, found
        finest = min(finest, chosen)
    return finest


def _significance_outside(
    score: Float[np.ndarray, " events"],
    events: Events,
    fold_and_slices: tuple[int, int],
    minimum_background: int,
) -> float:
    """Z, with the statistics of the simulated background, of merged slices outside one fold."""
    fold, slices = fold_and_slices
    others = events.others(fold)
    inner = _inner_edges(score, events, slices)[fold]
    where = np.searchsorted(inner, score[events.fold != fold], side="right")
    try:
        sums = yields_in_cells(others, where, slices)
        first = merged_from_signal_end(sums, minimum_background)
    except InputError:  # too few for a bin outside the fold; the sum of all decides
        return 0.0
    s, b, variance = (
        np.add.reduceat(x, first) for x in (sums.signal, sums.background, sums.background_variance)
    )
    return float(np.sqrt(np.sum(asimov_significance_gaussian(s, b, np.sqrt(variance)) ** 2)))


def merged_from_signal_end(yields: Yields, minimum_background: int) -> Int[np.ndarray, " bins"]:
    """First slice of each merged bin.

    A bin is closed as soon as it has enough raw background events, positive yields and a
    background known to better than 30 %; what is left over at the background end joins the last.

    Raises:
        InputError: if no bin can be closed.
    """
    first: list[int] = []
    end = len(yields.signal)
    for start in range(end - 1, -1, -1):
        if _valid(yields, start, end, minimum_background):
            first.append(start)
            end = start
    # what is left over joins the last bin, and may spoil it with negative weights
    while first and end and not _valid(yields, 0, _end_of_last(first, yields), minimum_background):
        end = first.pop()
    if not first:
        raise InputError(
            f"inference: all events together do not make one bin with {minimum_background} raw "
            f"background events known to {LARGEST_RELATIVE_ERROR:.0%}: there are "
            f"{yields.raw_background.sum():.0f}, expected yield {yields.background.sum():.4g}; "
            "add background events or lower inference.minimum_background"
        )
    first[-1] = 0
    return np.array(first[::-1])


def _end_of_last(first: list[int], yields: Yields) -> int:
    return first[-2] if len(first) > 1 else len(yields.signal)


def _valid(yields: Yields, start: int, end: int, minimum_background: int) -> bool:
    """Whether the slices from start to end make a bin that can be fitted."""
    held = slice(start, end)
    background = yields.background[held].sum()
    error = np.sqrt(yields.background_variance[held].sum())
    return bool(
        yields.raw_background[held].sum() >= minimum_background
        and yields.signal[held].sum() > 0
        and background > 0
        and error < LARGEST_RELATIVE_ERROR * background
    )
