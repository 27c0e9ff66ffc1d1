"""Inputs made of particles once, and kept in a file while a network trains on them epoch by epoch.

To make features of a jet's particles takes two to five times as long as to read them back. The file
has no name: it goes with the process that made it, so that it can never be one of other data or of
another recipe.
"""

import weakref
from collections.abc import Callable
from typing import IO

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from hepml.errors import InputError
from hepml.inputs.source import Source, runs

OpenRoom = Callable[[], IO[bytes]]


class KeptParticles:
    """Inputs of a network, each made when it is first asked for and read from a file afterwards.

    What is asked for twice is the same bit for bit. Pages of the file are memory-mapped: they are
    the system's to drop, so that memory does not grow with the events. It takes 4 bytes per value
    of the events that were asked for, as long as this object lives.

    Args:
        source: makes the inputs: tables of float32 with one row per particle, then the particles
            of each event.
        most: particles of each event, or more.
        room: opens an empty file that goes when it is closed; called for each table.
    """

    def __init__(self, source: Source, most: Int64[np.ndarray, " events"], room: OpenRoom) -> None:
        self._source = source
        self._room = room
        self._most = int(most.sum())
        self._start = np.full(len(most), -1)  # row of the first particle; -1 if not yet made
        self._counts = np.zeros(len(most), np.int64)
        self._rows = 0
        self._tables: list[_Table] = []

    def take(self, events: Int64[np.ndarray, " batch"]) -> tuple[Tensor, ...]:
        """The network's arguments for these events, in this order."""
        new = np.unique(events[self._start[events] < 0])
        if len(new) == len(events):  # the first epoch
            inputs = self._source.take(events)
            self._keep(events, inputs)
            return inputs
        if len(new):
            self._keep(new, self._source.take(new))
        counts = self._counts[events]
        rows = runs(self._start[events], counts)
        found = (torch.from_numpy(table.values.take(rows, axis=0)) for table in self._tables)
        return *found, torch.from_numpy(counts)

    def _keep(self, events: Int64[np.ndarray, " new"], inputs: tuple[Tensor, ...]) -> None:
        *tables, counts = (x.numpy() for x in inputs)
        if not self._tables:
            self._tables = [_Table(self._room(), self._most, x.shape[1]) for x in tables]
        for table, rows in zip(self._tables, tables, strict=True):
            table.append(rows)
        self._counts[events] = counts
        self._start[events] = self._rows + np.cumsum(counts) - counts
        self._rows += int(counts.sum())


class _Table:
    """Rows of a file that are written one after another and read anywhere."""

    def __init__(self, file: IO[bytes], rows: int, width: int) -> None:
        self._file = file
        weakref.finalize(self, file.close)
        file.truncate(4 * max(rows * width, 1))  # takes no room before it is written
        mapped = np.memmap(file, np.float32, "r", shape=(rows, width)) if rows else None
        file.seek(0)  # where memmap did not leave it
        # a plain array: every access to a memmap costs a microsecond more
        self.values = np.zeros((0, width), np.float32) if mapped is None else np.asarray(mapped)

    def append(self, rows: Float32[np.ndarray, "rows width"]) -> None:
        try:
            self._file.write(np.ascontiguousarray(rows).data.cast("B") if rows.size else b"")
            self._file.flush()  # a map does not see what still lies in a buffer
        except OSError as error:
            raise InputError(
                f"features of particles cannot be kept while training ({error.strerror}): of "
                f"{self.values.nbytes / 1e9:.1f} GB at most, {self._file.tell() / 1e9:.1f} GB were "
                "written beside the output; make room there"
            ) from None
