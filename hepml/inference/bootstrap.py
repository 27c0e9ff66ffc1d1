"""Poisson bootstrap: what the simulated samples could have been.

Every event is repeated k ~ Poisson(1) times, drawn from a generator seeded with (seed, replica)
in the fixed order of events. All methods therefore see the same replicas, and the difference of
two methods has its correlations in it. Thresholds, edges and merging stay as they are.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from hepml.inference.events import Events


@dataclass(frozen=True)
class Replicas:
    """Sums in the cells of each replica. Row 0 is the sample itself.

    Attributes:
        signal: expected events.
        background: expected events.
        signal_variance: Σ k w².
        background_variance: Σ k w².
    """

    signal: Float[np.ndarray, "replicas cells"]
    background: Float[np.ndarray, "replicas cells"]
    signal_variance: Float[np.ndarray, "replicas cells"]
    background_variance: Float[np.ndarray, "replicas cells"]

    def summed(self, cells: Int[np.ndarray, " cells"], groups: int) -> "Replicas":
        """Cells added up to groups."""
        member = np.equal.outer(cells, np.arange(groups)).astype(float)
        return Replicas(*(x @ member for x in vars(self).values()))

    def without_empty_background(self) -> "Replicas":
        """Cells in which a replica has no background (or negative yields) as in the sample.

        With ten raw events that happens once in 20,000 cells; no significance is defined there.
        """
        broken = (self.background <= 0) | (self.signal < 0)
        return Replicas(*(np.where(broken, x[:1], x) for x in vars(self).values()))


def draw_replicas(
    events: Events, cell: Int[np.ndarray, " events"], cells: int, replicas: int, seed: int
) -> Replicas:
    """Bootstrap the sums in cells.

    Args:
        events: all events, in an order that is the same for all methods.
        cell: where each event belongs, 0 .. cells - 1.
        cells: how many there are.
        replicas: how many replicas.
        seed: the same for all methods.
    """
    place = cell + cells * ~events.signal
    square = events.weight**2
    rows = []
    for replica in range(-1, replicas):
        if replica < 0:
            repeats = np.ones(len(place), np.int64)
        else:
            repeats = np.random.default_rng((seed, replica)).poisson(1.0, len(place))
        sums = [np.bincount(place, repeats * w, 2 * cells) for w in (events.weight, square)]
        rows.append(np.stack(sums))
    total = np.stack(rows).reshape(len(rows), 2, 2, cells)  # replica, power of w, class, cell
    return Replicas(total[:, 0, 0], total[:, 0, 1], total[:, 1, 0], total[:, 1, 1])


def spread(values: Float[np.ndarray, " replicas"]) -> float:
    """Standard deviation of the replicas, without row 0."""
    return float(np.std(values[1:], ddof=1))
