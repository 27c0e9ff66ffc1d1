"""Dropout that costs next to nothing on a CPU."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_POOL = 2**20  # values; 4 MB stay in a cache


class Dropout(nn.Module):
    """Dropout; on a CPU, one random byte decides, and a batch draws a million bytes only.

    Drawing, comparing and selecting for every value anew takes a sixth of a training step. Here a
    pool of factors is drawn for each batch, 0 or 1/(1 - p), and each use multiplies by a stretch of
    it that begins at a random place: within one use all draws are independent, and of two uses the
    same draws meet unrelated values. p is a multiple of 1/256 there (0.1 becomes 26/256) and the
    mean is exact. On a GPU it is the usual dropout.

    Share one instance among the layers of a network, and call :meth:`redraw` for each batch.

    Args:
        probability: to drop a value in training.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.threshold = round(256 * probability)
        self.probability = probability
        self._pool = torch.empty(0)
        # where stretches begin, as shares of the pool, the next one last: all that is carried from
        # batch to batch, which a training that was interrupted must keep
        self.places: list[float] = []

    @property
    def active(self) -> bool:
        """Whether anything is dropped."""
        return self.training and self.threshold > 0

    def redraw(self, size: int = _POOL) -> None:
        """Draw a new pool; masks that were taken from the old one stay valid."""
        words = torch.empty((size + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[:size] >= self.threshold
        self._pool = kept.float().mul_(256 / (256 - self.threshold))

    def factors(
        self, shape: Sequence[int], dtype: torch.dtype = torch.float32
    ) -> Float[Tensor, "*shape"]:
        """Factors for the values of a tensor on a CPU: 0 or 1/(1 - p)."""
        number = math.prod(shape)
        if number > len(self._pool):
            self.redraw(max(_POOL, 2 * number))
        start = int(self._place() * (len(self._pool) - number + 1))
        return self._pool[start : start + number].view(*shape).to(dtype)

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop values in training, leave them alone otherwise."""
        if not self.active:
            return x
        if x.is_cuda:
            return functional.dropout(x, self.probability)
        return x * self.factors(x.shape, x.dtype)

    def add(
        self, to: Float[Tensor, "*shape"], x: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """Give ``to`` + dropout(``x``), the step of a residual connection."""
        if self.active and x.is_cpu:
            return torch.addcmul(to, x, self.factors(x.shape, x.dtype))
        return to + self(x)

    def _place(self) -> float:
        if not self.places:
            self.places = torch.rand(256).tolist()[::-1]
        return self.places.pop()
