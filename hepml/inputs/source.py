"""What a network takes in, for any choice of events: from memory, or straight from the columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int8, Int64
from torch import Tensor

from hepml import kernels
from hepml.data.store import Columns
from hepml.errors import InputError

Prepare = Callable[[np.ndarray, np.ndarray], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Labels:
    """Which class each event of several samples belongs to, one sample after another."""

    label: Int8[np.ndarray, " events"]
    weight: Float64[np.ndarray, " events"]
    fold: Int8[np.ndarray, " events"]


def read_labels(samples: Sequence[Columns]) -> Labels:
    """Labels, weights and folds of all events of opened columns."""
    names = ("label", "weight", "fold")
    return Labels(*(np.concatenate([sample[name] for sample in samples]) for name in names))


def particle_counts(samples: Sequence[Columns]) -> Int64[np.ndarray, " events"]:
    """How many particles each event of opened columns has, one sample after another."""
    return np.concatenate([np.diff(sample.particles().offsets) for sample in samples])


@runtime_checkable
class Source(Protocol):
    """Inputs of a network for chosen events."""

    def take(self, events: Int64[np.ndarray, " batch"]) -> tuple[Tensor, ...]:
        """The network's arguments for these events, in this order."""


def to_device(inputs: tuple[Tensor, ...], device: torch.device) -> tuple[Tensor, ...]:
    """Inputs of a network on its device; counts, which are integers, stay on the CPU.

    Copies to a GPU go through pinned memory and are not waited for.
    """
    if device.type == "cpu":
        return inputs
    return tuple(_sent(x, device) if x.is_floating_point() else x for x in inputs)


def _sent(x: Tensor, device: torch.device) -> Tensor:
    return x if x.device == device else x.pin_memory().to(device, non_blocking=True)


class FeatureSource:
    """Named variables of several samples, read from their memory maps batch by batch.

    Args:
        samples: opened columns; events are numbered through them in this order.
        names: of the variables.
    """

    def __init__(self, samples: Sequence[Columns], names: Sequence[str]) -> None:
        self._columns = [[sample[name] for name in names] for sample in samples]
        self._first = np.cumsum([0, *(sample.events for sample in samples)])
        self._width = len(names)

    def take(self, events: Int64[np.ndarray, " batch"]) -> tuple[Tensor, ...]:
        """One tensor of shape (batch, features)."""
        sample = np.searchsorted(self._first, events, side="right") - 1
        table = np.empty((len(events), self._width), np.float32)
        for number in np.unique(sample):
            rows = np.flatnonzero(sample == number)
            local = events[rows] - self._first[number]
            for index, column in enumerate(self._columns[number]):
                table[rows, index] = column[local]
        return (torch.from_numpy(table),)


class ParticleSource:
    """Particles of several samples, read from their memory maps batch by batch.

    Nothing is held in memory but the offsets; what was read lately stays in the page cache.

    Args:
        samples: opened columns with particles; events are numbered through them in this order.
        prepare: makes a network's arguments of packed particles: values of shape (particles,
            fields) and counts of shape (batch,).
    """

    def __init__(self, samples: Sequence[Columns], prepare: Prepare) -> None:
        self._particles = [sample.particles() for sample in samples]
        # plain arrays: every access to a memmap costs microseconds more
        self._offsets = [np.asarray(particles.offsets) for particles in self._particles]
        self._values = [np.asarray(particles.values) for particles in self._particles]
        self._first = np.cumsum([0, *(sample.events for sample in samples)])
        self._prepare = prepare
        fields = {particles.fields for particles in self._particles}
        if len(fields) > 1:
            raise InputError(
                f"samples store different particle fields: {sorted(map(list, fields))}; run "
                "`hepml data` for all of them with one schema"
            )

    def take(self, events: Int64[np.ndarray, " batch"]) -> tuple[Tensor, ...]:
        """What ``prepare`` makes of the particles of these events."""
        return self._prepare(*self.gather(events))

    def gather(
        self, events: Int64[np.ndarray, " batch"]
    ) -> tuple[Float32[np.ndarray, "particles fields"], Int64[np.ndarray, " batch"]]:
        """Particles of these events one after another, and how many each has."""
        sample = np.searchsorted(self._first, events, side="right") - 1
        counts = np.empty(len(events), np.int64)
        start = np.empty(len(events), np.int64)
        for number in np.unique(sample):
            mine = sample == number
            offsets = self._offsets[number]
            local = events[mine] - self._first[number]
            start[mine] = offsets[local]
            counts[mine] = offsets[local + 1] - start[mine]
        return gather_rows(self._values, sample, start, counts), counts


def gather_rows(
    tables: Sequence[Float32[np.ndarray, "_ columns"]],
    table: Int64[np.ndarray, " runs"],
    start: Int64[np.ndarray, " runs"],
    counts: Int64[np.ndarray, " runs"],
) -> Float32[np.ndarray, "rows columns"]:
    """Rows ``start`` to ``start + counts`` of the table of each run, one run after another."""
    if kernels.fit_for():
        return kernels.gather(tables, table, start, counts)
    present = np.unique(table)
    if len(present) == 1:
        return tables[present[0]].take(runs(start, counts), axis=0)
    where = zip(table.tolist(), start.tolist(), (start + counts).tolist(), strict=True)
    pieces = (tables[number][first:stop] for number, first, stop in where)
    return np.concatenate([tables[0][:0], *pieces])


def runs(start: Int64[np.ndarray, " n"], counts: Int64[np.ndarray, " n"]) -> np.ndarray:
    """start[0], start[0] + 1, ..., then the same from start[1]: counts[i] numbers each."""
    before = np.cumsum(counts) - counts
    return np.repeat(start - before, counts) + np.arange(int(counts.sum()))
