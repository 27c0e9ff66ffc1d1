"""Bins of the score: slices of equal signal efficiency, merged until each is safe to fit."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hepml.errors import InputError
from hepml.inference.events import Events, Yields, yields_of_events
from hepml.inference.selection import signal_thresholds

LARGEST_RELATIVE_ERROR = 0.3  # of the simulated background in a bin


@dataclass(frozen=True)
class Binning:
    """Which bin each event is in; the last bin is the most signal-like.

    Attributes:
        bin_of_event: 0 .. bins - 1; bins where the event is in none that is fitted.
        yields: sums per bin.
        edges: of the score for each fold, with infinite ends; None for passed and failed.
    """

    bin_of_event: Int[np.ndarray, " events"]
    yields: Yields
    edges: Float[np.ndarray, "folds edges"] | None


def bin_score(
    score: Float[np.ndarray, " events"], events: Events, slices: int, minimum_background: int
) -> Binning:
    """Slice a score into equal signal efficiencies and merge slices from the signal end.

    The edges of each fold are signal quantiles of the other folds, so a slice means the same in
    each and slices are summed over folds. Only ranks enter: a monotone transform of the score
    changes nothing. Which slices are merged follows from the raw background counts of the sum and
    is the same for all folds; it makes bins valid, it does not maximise anything.

    Raises:
        InputError: if not even all slices together make a valid bin.
    """
    share = np.arange(1, slices) / slices
    inner = signal_thresholds(score, events, share)[:, ::-1]
    ends = np.full((events.folds, 1), np.inf)
    edges = np.hstack([-ends, inner, ends])
    slice_of_event = np.zeros(len(score), np.int64)
    for k in range(events.folds):
        of_fold = events.fold == k
        slice_of_event[of_fold] = np.searchsorted(inner[k], score[of_fold], side="right")
    sums = yields_of_events(events, slice_of_event, slices)
    first = merged_from_signal_end(sums, minimum_background)
    bin_of_event = np.searchsorted(first, slice_of_event, side="right") - 1
    kept = np.append(first, slices)
    return Binning(bin_of_event, yields_of_events(events, bin_of_event, len(first)), edges[:, kept])


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
