"""The events all methods are judged on, and what a selection keeps of them."""

from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt64

from hepml.errors import InputError


@dataclass(frozen=True)
class Events:
    """Simulated events of all samples in a fixed order; data events are left out.

    Attributes:
        event_id: identity; entries that share it, such as jets, are one event and fluctuate
            together.
        fold: 0 .. folds - 1.
        signal: True for signal.
        weight: expected events at the luminosity; may be negative.
        folds: how many there are.
    """

    event_id: UInt64[np.ndarray, " events"]
    fold: Integer[np.ndarray, " events"]
    signal: Bool[np.ndarray, " events"]
    weight: Float[np.ndarray, " events"]
    folds: int

    def only(self, chosen: Bool[np.ndarray, " events"]) -> "Events":
        """Some of the events, their weights as they are."""
        return Events(
            self.event_id[chosen],
            self.fold[chosen],
            self.signal[chosen],
            self.weight[chosen],
            self.folds,
        )

    def others(self, fold: int) -> "Events":
        """Events of all folds but one, weighted so that each class keeps its expected yield."""
        kept = self.fold != fold
        weight = self.weight[kept]
        for of_class in (self.signal, ~self.signal):
            weight[of_class[kept]] *= self.weight[of_class].sum() / weight[of_class[kept]].sum()
        return Events(self.event_id[kept], self.fold[kept], self.signal[kept], weight, self.folds)


@dataclass(frozen=True)
class Yields:
    """Sums over the events of each of many selections.

    Attributes:
        signal: expected events.
        background: expected events.
        signal_variance: Σ w².
        background_variance: Σ w².
        raw_signal: how many events.
        raw_background: how many events.
    """

    signal: Float[np.ndarray, "*selections"]
    background: Float[np.ndarray, "*selections"]
    signal_variance: Float[np.ndarray, "*selections"]
    background_variance: Float[np.ndarray, "*selections"]
    raw_signal: Float[np.ndarray, "*selections"]
    raw_background: Float[np.ndarray, "*selections"]


def one_entry_per_event(
    events: Events, cell: Integer[np.ndarray, " entries"]
) -> tuple[Events, Integer[np.ndarray, " merged"]]:
    """Entries of one event that lie in the same cell, and are of one class, added up to one.

    The second is the number of the first of them.
    """
    order = np.lexsort((cell, events.signal, events.event_id))
    keys = [x[order] for x in (events.event_id, events.signal, cell)]
    new = np.ones(len(order), bool)
    new[1:] = np.any([key[1:] != key[:-1] for key in keys], axis=0)
    first = order[new]
    weight = np.bincount(np.cumsum(new) - 1, events.weight[order], len(first))
    merged = Events(
        events.event_id[first], events.fold[first], events.signal[first], weight, events.folds
    )
    return merged, first


def yields_of_events(events: Events, cell: Integer[np.ndarray, " events"], cells: int) -> Yields:
    """As :func:`yields_in_cells`, with variances Σ (Σ w of an event)²: for what is quoted.

    That an event may also have entries in another cell is not in these variances; the bootstrap
    errors have it.
    """
    merged, first = one_entry_per_event(events, cell)
    clustered = yields_in_cells(merged, cell[first], cells)
    return replace(
        yields_in_cells(events, cell, cells),
        signal_variance=clustered.signal_variance,
        background_variance=clustered.background_variance,
    )


def yields_in_cells(events: Events, cell: Integer[np.ndarray, " events"], cells: int) -> Yields:
    """Add up the events of each cell, every entry taken as an event of its own.

    Fast, for optimisers; :func:`yields_of_events` has the variances of entries that share events.

    Args:
        events: all events.
        cell: where each belongs, 0 .. cells - 1.
        cells: how many there are.
    """
    sums = []
    for of_class in (events.signal, ~events.signal):
        where, weight = cell[of_class], events.weight[of_class]
        powers = (weight, weight**2, np.ones_like(weight))
        # NumPy counts nothing in whole numbers
        sums.append([np.bincount(where, x, cells).astype(np.float64) for x in powers])
    (s, ss, ns), (b, bb, nb) = sums
    return Yields(s, b, ss, bb, ns, nb)


def check_events(events: Events) -> None:
    """Refuse events on which no significance can be computed.

    Raises:
        InputError: naming the class or the fold, and the mend.
    """
    stray = np.unique(events.fold[(events.fold < 0) | (events.fold >= events.folds)])
    if stray.size:
        raise InputError(
            f"inference: column fold holds {stray.tolist()[:5]}, expected 0 to {events.folds - 1}; "
            "run `hepml data` with the same number of folds"
        )
    for name, of_class in (("signal", events.signal), ("background", ~events.signal)):
        if not of_class.any():
            raise InputError(f"inference: no {name} events; check the roles and the selection")
        total = events.weight[of_class].sum()
        in_fold = np.bincount(events.fold[of_class], events.weight[of_class], events.folds)
        if not total > 0 or not np.all(total - in_fold > 0):
            raise InputError(
                f"inference: the {name} weights sum to {total:.6g}, in the folds to "
                f"{np.round(in_fold, 6).tolist()}; each sum over all but one fold must be "
                "positive: add events, or check the column weight"
            )


def digest(events: Events) -> str:
    """SHA-256 over identity, label and weight of all events, in order."""
    total = sha256()
    for column in (events.event_id, events.signal.astype(np.int8), events.weight):
        total.update(np.ascontiguousarray(column).tobytes())
    return total.hexdigest()
