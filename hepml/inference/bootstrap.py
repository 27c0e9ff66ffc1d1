"""Poisson bootstrap: what the simulated samples could have been.

Every event is repeated k ~ Poisson(1) times, with k made of its identity, the seed and the number
of the replica alone: all jets of an event are repeated alike, and so are its copies under
systematic variations, in which it may pass another selection. All methods see the same replicas,
and the difference of two methods has its correlations in it. Networks, thresholds, edges and
merging stay as they are.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt64

from hepml.data.folds import splitmix64
from hepml.inference.events import Events, one_entry_per_event
from hepml.inference.metrics import Estimate

ROUNDING = 1e-12  # relative
# P(k ≤ 0), P(k ≤ 1), ... of Poisson(1); beyond k = 18 nothing is left of a double's 53 bits
_BELOW = np.cumsum([math.exp(-1) / math.factorial(k) for k in range(19)])
# k of the first 16 bits of a uniform number, and where the other bits decide: a table is several
# times faster than a search, and half of an inference is spent here
_COARSE = np.searchsorted(_BELOW, np.arange(2**16) / 2**16, side="right").astype(np.int64)
_SPLIT = np.append(_COARSE[1:], len(_BELOW)) != _COARSE


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


def repeats(
    identity: UInt64[np.ndarray, " entries"], replicas: int, seed: int
) -> Iterator[Int[np.ndarray, " entries"]]:
    """How often the event of each entry is repeated: once, then k ~ Poisson(1) in each replica.

    Args:
        identity: of the event; the same gives the same k, whatever else is in the array.
        replicas: how many.
        seed: of all replicas.
    """
    yield np.ones(len(identity), np.int64)
    for replica in range(replicas):
        key = np.random.SeedSequence((seed, replica)).generate_state(1, np.uint64)
        bits = splitmix64(identity ^ key)
        first = (bits >> np.uint64(48)).astype(np.int64)
        k = _COARSE[first]
        split = np.flatnonzero(_SPLIT[first])
        k[split] = np.searchsorted(_BELOW, (bits[split] >> np.uint64(11)) * 2.0**-53, side="right")
        yield k


def replica_sums(
    events: Events, cell: Int[np.ndarray, " events"], cells: int, replicas: int, seed: int
) -> Float[np.ndarray, "replicas cells"]:
    """Weights in the cells of each replica, of all classes together; arguments of the next."""
    each = repeats(events.event_id, replicas, seed)
    return np.stack([np.bincount(cell, k * events.weight, cells) for k in each])


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
    merged, first = one_entry_per_event(events, cell)
    place = cell + cells * ~events.signal
    rows = []
    for k in repeats(events.event_id, replicas, seed):
        # in the order of the entries, as copies of them are added up: equal ones to the last bit
        sums = np.bincount(place, k * events.weight, 2 * cells)
        squares = np.bincount(place[first], k[first] * merged.weight**2, 2 * cells)
        rows.append(np.stack([sums, squares]))
    total = np.stack(rows).reshape(len(rows), 2, 2, cells)  # replica, power of w, class, cell
    return Replicas(total[:, 0, 0], total[:, 0, 1], total[:, 1, 0], total[:, 1, 1])


def estimate(values: Float[np.ndarray, " replicas"]) -> Estimate:
    """The number of the sample with its bootstrap error."""
    return Estimate(float(values[0]), spread(values))


def spread(values: Float[np.ndarray, " replicas"]) -> float:
    """Standard deviation of the replicas, without row 0; zero where they differ by rounding."""
    found = float(np.std(values[1:], ddof=1))
    return found if found > ROUNDING * abs(values[0]) else 0.0
