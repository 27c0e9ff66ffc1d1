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

from hepml.inputs.source import Source, to_device

Batch = tuple[tuple[Tensor, ...], Tensor, Tensor]
_AHEAD = 3  # batches that are ready before a GPU asks for them


@dataclass(frozen=True)
class Batches:
    """Events to train on: what the network reads, labels, and weights of mean 1.

    Labels and weights lie on the device that trains; ``events`` says which of the source's.
    """

    source: Source
    events: Int64[np.ndarray, " events"]
    label: Float[Tensor, " events"]
    weight: Float[Tensor, " events"]

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

        The first ``skip`` batches are left out, and nothing is read for them.
        """
        return self._batches(torch.randperm(len(self), generator=generator), size, skip)

    def ordered(self, size: int) -> Iterator[Batch]:
        """All events once as they come, in nearly equal batches of at most ``size``."""
        return self._batches(torch.arange(len(self)), size)

    def _batches(self, order: Tensor, size: int, skip: int = 0) -> Iterator[Batch]:
        pieces = order.tensor_split(math.ceil(len(self) / size))[skip:]
        if self.device.type == "cpu":
            return map(self._batch, pieces)
        return _ahead(self._batch, pieces)

    def _batch(self, chosen: Tensor) -> Batch:
        inputs = to_device(self.source.take(self.events[chosen.numpy()]), self.device)
        here = chosen.to(self.device)
        return inputs, self.label[here], self.weight[here]


def _ahead(make: Callable[[Tensor], Batch], pieces: Iterable[Tensor]) -> Iterator[Batch]:
    """Batches that a thread makes while the GPU computes."""
    ready: deque[Future[Batch]] = deque()
    with ThreadPoolExecutor(max_workers=1) as maker:
        for piece in pieces:
            ready.append(maker.submit(make, piece))
            if len(ready) > _AHEAD:
                yield ready.popleft().result()
        while ready:
            yield ready.popleft().result()
