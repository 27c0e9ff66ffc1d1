"""Poisson bootstrap: what the simulated samples could have been.

Every event is repeated k ~ Poisson(1) times, drawn from a generator seeded with (seed, replica)
in the order of event identities: all jets of an event are repeated alike. All methods see the same
replicas, and the difference of two methods has its correlations in it. Networks, thresholds, edges
and merging stay as they are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hepml.inference.events import Events, one_entry_per_event


@dataclass(frozen=True)
class Replicas:
    """Sums in the cells of each replica. Row 0 is the sample itself.

    Attributes:
        signal: expected events.
        background: expected events.
        signal_variance: Σ k w², entries of one event in a cell added up before squaring.
        background_variance: likewise.
    """

    signal: Float[np.ndarray, "replicas cells"]
    background: Float[np.ndarray, "replicas cells"]
    signal_variance: Float[np.ndarray, "replicas cells"]
    background_variance: Float[np.ndarray, "replicas cells"]

    def first(self, cells: int) -> "Replicas":
        """The first cells, where a replica without background (or signal < 0) is as the sample.

        With ten raw events that happens once in 20,000 cells; no significance is defined there.
        """
        broken = (self.background <= 0) | (self.signal < 0)
        return Replicas(*(np.where(broken, x[:1], x)[:, :cells] for x in vars(self).values()))


def draw_replicas(
    events: Events, cell: Int[np.ndarray, " events"], cells: int, replicas: int, seed: int
) -> Replicas:
    """Bootstrap the sums in cells.

    Args:
        events: all events, the same for all methods.
        cell: where each entry belongs, 0 .. cells - 1.
        cells: how many there are.
        replicas: how many replicas.
        seed: the same for all methods.
    """
    merged, of_merged = one_entry_per_event(events, cell)
    identities = np.unique(merged.event_id)
    event = np.searchsorted(identities, merged.event_id)
    place = of_merged + cells * ~merged.signal
    rows = []
    for replica in range(-1, replicas):
        repeats = np.ones(len(identities), np.int64)
        if replica >= 0:
            repeats = np.random.default_rng((seed, replica)).poisson(1.0, len(identities))
        repeated = repeats[event] * merged.weight
        sums = [np.bincount(place, x, 2 * cells) for x in (repeated, repeated * merged.weight)]
        rows.append(np.stack(sums))
    total = np.stack(rows).reshape(len(rows), 2, 2, cells)  # replica, power of w, class, cell
    return Replicas(total[:, 0, 0], total[:, 0, 1], total[:, 1, 0], total[:, 1, 1])


def spread(values: Float[np.ndarray, " replicas"]) -> float:
    """Standard deviation of the replicas, without row 0."""
    return float(np.std(values[1:], ddof=1))
