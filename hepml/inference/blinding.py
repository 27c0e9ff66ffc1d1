"""Data in the bins that may be looked at: while an analysis is blind, those with little signal.

Bins are ordered from background to signal. The first one whose expected S/√B exceeds
``inference.blind_above`` and all beyond it stay closed until ``inference.unblind`` is set: a score
that would fall there is never read, and of the cuts only what fails is counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Integer

from hepml.config import Inference
from hepml.errors import InputError
from hepml.inference.binning import Binning
from hepml.inference.events import Yields


@dataclass(frozen=True)
class DataEvents:
    """Data events: the fold of each, and the cut variables or the log-likelihood ratio."""

    fold: Integer[np.ndarray, " events"]
    variables: Float[np.ndarray, "variables events"]


# reads the data whose score is below a limit for each fold; cut variables are read in any case
DataReader = Callable[[Float[np.ndarray, " folds"]], DataEvents]
# bin of each data event in the binning of its own fold
Placing = Callable[[DataEvents], Int[np.ndarray, " events"]]


@dataclass(frozen=True)
class Counted:
    """Data per bin.

    Attributes:
        unblind: whether all bins were opened by ``inference.unblind``.
        blind_above: the largest expected S/√B of an open bin of a blind analysis.
        counts: events of each bin; None where it is closed.
    """

    unblind: bool
    blind_above: float
    counts: list[int | None]

    @property
    def complete(self) -> bool:
        """Whether every bin is open."""
        return None not in self.counts


def open_bins(yields: Yields, settings: Inference) -> int:
    """How many bins, from the background end, may be looked at."""
    bins = len(yields.signal)
    if settings.unblind:
        return bins
    closed = yields.signal > settings.blind_above * np.sqrt(yields.background)
    return int(np.argmax(closed)) if closed.any() else bins


def count_data(
    read: DataReader, binning: Binning, place: Placing, folds: int, settings: Inference
) -> Counted:
    """Count the data in the open bins.

    Args:
        read: reads data below a limit on the score of each fold.
        binning: which bins there are.
        place: says which bin an event is in.
        folds: how many.
        settings: ``unblind`` and ``blind_above``.

    Raises:
        InputError: if a bin has data where none can be expected.
    """
    bins = len(binning.yields.signal)
    opened = open_bins(binning.yields, settings)
    limits = np.full(folds, np.inf)
    if binning.edges is not None:
        limits = binning.edges[:, opened]
    found = place(read(limits)) if opened else np.empty(0, np.int64)
    counted = np.bincount(found[found < opened], minlength=opened)
    total = binning.yields.signal + binning.yields.background
    impossible = np.flatnonzero((counted > 0) & (total[:opened] <= 0))
    if impossible.size:
        raise InputError(
            f"inference: bins {impossible.tolist()} hold data but no expected events; merge them "
            "with a neighbour (fewer inference.bins)"
        )
    return Counted(
        settings.unblind,
        settings.blind_above,
        [*(int(count) for count in counted), *[None] * (bins - opened)],
    )
