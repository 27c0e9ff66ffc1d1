"""Inputs made of particles once, and kept in a file while a network trains on them epoch by epoch.

To make features of a jet's particles takes two to five times as long as to read them back. The file
has no name: it goes with the process that made it, so that it can never be one of other data or of
another recipe.
"""

import os
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from typing import IO

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from hepml.errors import InputError
from hepml.inputs.source import Source, gather_rows

OpenRoom = Callable[[], IO[bytes]]

_AT_ONCE = 2048  # events that one thread makes: what it makes of them stays in the caches
_NEWS = 30.0  # seconds after which it is told how far making is


class KeptParticles:
    """Inputs of a network, each made once and read from a file whenever it is asked for.

    What is asked for twice is the same bit for bit. Pages of the file are memory-mapped: they are
    the system's to drop, so that memory does not grow with the events. It takes 4 bytes per value
    of the events that were made, as long as this object lives.

    Args:
        source: makes the inputs: tables of float32 with one row per particle, then the particles
            of each event. Several threads ask it.
        counts: particles of each event.
        room: opens an empty file that goes when it is closed; called for each table.
    """

    def __init__(
        self, source: Source, counts: Int64[np.ndarray, " events"], room: OpenRoom
    ) -> None:
        self._source = source
        self._counts = counts
        self._room = room
        self._start = np.full(len(counts), -1)  # row of the first particle; -1 if not yet made
        self._rows = 0
        self._tables: list[_Table] = []

    def take(self, events: Int64[np.ndarray, " batch"]) -> tuple[Tensor, ...]:
        """The network's arguments for these events, in this order; made now where need be."""
        if (self._start[events] < 0).any():
            self.make(events)
        start, counts = self._start[events], self._counts[events]
        one = np.zeros(len(events), np.int64)
        found = (gather_rows([table.values], one, start, counts) for table in self._tables)
        return (*map(torch.from_numpy, found), torch.from_numpy(counts))

    def make(
        self, events: Int64[np.ndarray, " events"], told: Callable[[str], None] = lambda _: None
    ) -> None:
        """Make those of the events that are not yet there, on all cores, in the columns' order.

        Args:
            events: which.
            told: is told how far it is, if that takes long.

        Raises:
            InputError: if the disk has no room for them, and what the source raises.
        """
        new = np.unique(events[self._start[events] < 0])
        counts = self._counts[new]
        start = self._rows + np.cumsum(counts) - counts
        self._rows += int(counts.sum())
        edges = [*range(0, len(new), _AT_ONCE), len(new)]
        pieces = [slice(*edge) for edge in pairwise(edges)]

        def keep(piece: slice) -> slice:
            self._keep(new[piece], int(start[piece][0]))
            return piece

        last = time.monotonic()
        pool = ThreadPoolExecutor(torch.get_num_threads())
        try:
            first = [keep(piece) for piece in pieces[:1]]  # which opens the tables
            for piece in chain(first, pool.map(keep, pieces[1:])):
                self._start[new[piece]] = start[piece]
                if time.monotonic() - last > _NEWS:
                    last = time.monotonic()
                    told(f"features of particles: made of {piece.stop:,} of {len(new):,} events")
        finally:
            pool.shutdown(cancel_futures=True)

    def _keep(self, events: Int64[np.ndarray, " new"], row: int) -> None:
        *tables, counts = (x.numpy() for x in self._source.take(events))
        if not np.array_equal(counts, self._counts[events]):
            raise RuntimeError("the source makes other numbers of particles than were announced")
        if not self._tables:
            most = int(self._counts.sum())
            self._tables = [_Table(self._room(), most, rows.shape[1]) for rows in tables]
        for table, rows in zip(self._tables, tables, strict=True):
            table.write(row, rows)


class _Table:
    """Rows of a file that are written and read anywhere."""

    def __init__(self, file: IO[bytes], rows: int, width: int) -> None:
        self._file = file
        weakref.finalize(self, file.close)
        file.truncate(4 * max(rows * width, 1))  # takes no room before it is written
        mapped = np.memmap(file, np.float32, "r", shape=(rows, width)) if rows else None
        # a plain array: every access to a memmap costs a microsecond more
        self.values = np.zeros((0, width), np.float32) if mapped is None else np.asarray(mapped)

    def write(self, row: int, rows: Float32[np.ndarray, "rows width"]) -> None:
        """Write rows, the first of them as ``row``; several threads may."""
        left = memoryview(np.ascontiguousarray(rows).data.cast("B") if rows.size else b"")
        place = row * self.values.itemsize * self.values.shape[1]
        try:
            while len(left):
                written = os.pwrite(self._file.fileno(), left, place)
                left, place = left[written:], place + written
        except OSError as error:
            raise InputError(
                f"features of particles cannot be kept while training ({error.strerror}): they "
                f"take {self.values.nbytes / 1e9:.1f} GB at most beside the output; make room there"
            ) from None
