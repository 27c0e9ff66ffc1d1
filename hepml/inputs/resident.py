"""What networks take in, held on a GPU: read from disk once, not batch by batch."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor

Finish = Callable[[tuple[Tensor, ...], Tensor], tuple[Tensor, ...]]


class ResidentTable:
    """Named variables of all events on one device.

    Args:
        table: on that device.
    """

    def __init__(self, table: Float32[Tensor, "events features"]) -> None:
        self._table = table

    def take(self, events: Int64[np.ndarray, " batch"]) -> tuple[Tensor, ...]:
        """One tensor of shape (batch, features)."""
        return (self._table[torch.from_numpy(events).to(self._table.device)],)


class ResidentParticles:
    """Quantities of the particles of all events on one device.

    Args:
        packed: tensors with one row per particle on that device, one event after another.
        counts: particles of each event.
        finish: makes a network's arguments of the rows of some events and their counts, which are
            on the CPU.
    """

    def __init__(
        self, packed: Sequence[Tensor], counts: Int64[np.ndarray, " events"], finish: Finish
    ) -> None:
        self._packed = tuple(packed)
        self._counts = counts
        self._starts = np.cumsum(counts) - counts
        self._finish = finish

    def take(self, events: Int64[np.ndarray, " batch"]) -> tuple[Tensor, ...]:
        """What ``finish`` makes of the particles of these events."""
        counts = self._counts[events]
        shift = self._starts[events] - (np.cumsum(counts) - counts)
        device, particles = self._packed[0].device, int(counts.sum())
        on_cpu = torch.from_numpy(counts)
        rows = torch.repeat_interleave(
            torch.from_numpy(shift).to(device), on_cpu.to(device), output_size=particles
        ) + torch.arange(particles, device=device)
        return self._finish(tuple(x.index_select(0, rows) for x in self._packed), on_cpu)
