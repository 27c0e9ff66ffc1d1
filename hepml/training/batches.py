"""Events in shuffled batches on the device that trains."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from hepml.errors import InputError
from hepml.inputs.source import Source, to_device
from hepml.training.parallel import ALONE, World

Batch = tuple[tuple[Tensor, ...], Tensor, Tensor]
_Piece = tuple[Tensor, float]  # events of a batch, and the share that they are of it
_AHEAD = 3  # batches that are ready before a GPU asks for them


@dataclass(frozen=True)
class Batches:
    """Events to train on: what the network reads, labels, and weights of mean 1.

    Labels and weights lie on the device that trains; ``events`` says which of the source's.
    ``world`` are the processes that share each batch.
    """

    source: Source
    events: Int64[np.ndarray, " events"]
    label: Float[Tensor, " events"]
    weight: Float[Tensor, " events"]
    world: World = ALONE

    def __len__(self) -> int:
        return len(self.label)

    @property
    def device(self) -> torch.device:
        """Where batches are wanted."""
        return self.label.device

    def to(self, device: torch.device) -> "Batches":
        """The same for another device."""
        return replace(self, label=self.label.to(device), weight=self.weight.to(device))

    def shuffled(self, size: int, generator: torch.Generator, skip: int = 0) -> Iterator[Batch]:
        """All events once in random order, in nearly equal batches of at most ``size``.

        The first ``skip`` batches are left out, and nothing is read for them. Of each batch only
        the part of this process, with weights that make mean losses of all parts add up to that
        of the batch.
        """
        batches = self._split(torch.randperm(len(self), generator=generator), size)[skip:]
        parts = map(self.world.part, batches)
        shares = ((p, len(p) / len(b)) for p, b in zip(parts, batches, strict=True))
        return self._made(shares)

    def ordered(self, size: int) -> Iterator[Batch]:
        """All events once as they come, in nearly equal batches of at most ``size``."""
        return self._made((batch, 1.0) for batch in self._split(torch.arange(len(self)), size))

    def parts(self, size: int) -> Iterator[Batch]:
        """As :meth:`ordered`, of each batch only the part of this process."""
        batches = self._split(torch.arange(len(self)), size)
        return self._made((self.world.part(batch), 1.0) for batch in batches)

    def require_parts(self, size: int) -> None:
        """Raise InputError if a process would have nothing to do in some batch."""
        smallest = len(self) // math.ceil(len(self) / size)
        if smallest < self.world.size:
            raise InputError(
                f"{self.world.size} processes for batches of {smallest} events; start fewer, or "
                "raise training.batch_size"
            )

    def _split(self, order: Tensor, size: int) -> tuple[Tensor, ...]:
        return order.tensor_split(math.ceil(len(self) / size))

    def _made(self, pieces: Iterable[_Piece]) -> Iterator[Batch]:
        if self.device.type == "cpu":
            return map(self._batch, pieces)
        return _ahead(self._batch, pieces)

    def _batch(self, piece: _Piece) -> Batch:
        chosen, share = piece
        inputs = to_device(self.source.take(self.events[chosen.numpy()]), self.device)
        here = chosen.to(self.device)
        weight = self.weight[here]
        return inputs, self.label[here], weight if share == 1 else weight * share


def _ahead(make: Callable[[_Piece], Batch], pieces: Iterable[_Piece]) -> Iterator[Batch]:
    """Batches that a thread makes while the GPU computes."""
    ready: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max_workers=1) as maker:
        for piece in pieces:
            ready.append(maker.submit(make, piece))
            if len(ready) > _AHEAD:
                yield ready.popleft().result()
        while ready:
            yield ready.popleft().result()
