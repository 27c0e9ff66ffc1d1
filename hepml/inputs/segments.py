"""Sums over the particles of each jet: packed arrays, packed tensors and padded tensors.

All classes have the same methods, so that a formula is written once: ``xp`` is the namespace with
the functions that NumPy and torch call alike.
"""

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int, Shaped
from torch import Tensor

Column = Any  # np.ndarray or Tensor, one value per particle or jet


@runtime_checkable
class Segments(Protocol):
    """What can be done with the particles of jets."""

    xp: Any

    def total(self, x: Column) -> Column:
        """Sum over the particles of each jet; 0 for a jet without any."""

    def spread(self, x: Column) -> Column:
        """Give each particle the value of its jet."""

    def first_places(self, size: int) -> Column:
        """Where the jet of each particle begins, if each jet has ``size`` places."""

    def integers(self, x: Column) -> Column:
        """Whole numbers of type float as indices."""

    def add(self, target: Column, index: Column, x: Column) -> None:
        """Add each value at its place; places may repeat."""


class ArraySegments:
    """Jets of NumPy particles.

    Args:
        counts: particles of each jet; 0 is allowed.
    """

    xp: Any = np

    def __init__(self, counts: Int[np.ndarray, " jets"]) -> None:
        self._counts = counts
        self._filled = np.flatnonzero(counts)
        # reduceat misreads empty segments, and the filled ones alone cover all particles
        self._starts = (np.cumsum(counts) - counts)[self._filled]

    def total(self, x: Float32[np.ndarray, " particles"]) -> Float32[np.ndarray, " jets"]:
        """Sum over the particles of each jet; 0 for a jet without any."""
        sums = np.zeros(len(self._counts), np.float32)
        if self._filled.size:
            sums[self._filled] = np.add.reduceat(x, self._starts)
        return sums

    def spread(self, x: Shaped[np.ndarray, " jets"]) -> Shaped[np.ndarray, " particles"]:
        """Give each particle the value of its jet."""
        return np.repeat(x, self._counts)

    def first_places(self, size: int) -> Int[np.ndarray, " particles"]:
        """Where the jet of each particle begins, if each jet has ``size`` places."""
        return self.spread(np.arange(len(self._counts)) * size)

    def integers(self, x: Float32[np.ndarray, " particles"]) -> Int[np.ndarray, " particles"]:
        """Whole numbers of type float as indices."""
        return x.astype(np.intp)

    def add(
        self,
        target: Float32[np.ndarray, " places"],
        index: Int[np.ndarray, " particles"],
        x: Float32[np.ndarray, " particles"],
    ) -> None:
        """Add each value at its place; places may repeat."""
        np.add.at(target, index, x)


class TensorSegments:
    """Jets of torch particles, on any device.

    Nothing here waits for the device. On a GPU the order of additions is not fixed, so that sums
    repeat within rounding only.

    Args:
        counts: particles of each jet; 0 is allowed.
        particles: their sum.
    """

    xp: Any = torch

    def __init__(self, counts: Int[Tensor, " jets"], particles: int) -> None:
        self._jets = len(counts)
        jets = torch.arange(self._jets, device=counts.device)
        self._owner = torch.repeat_interleave(jets, counts, output_size=particles)

    def total(self, x: Float32[Tensor, " particles"]) -> Float32[Tensor, " jets"]:
        """Sum over the particles of each jet; 0 for a jet without any."""
        return x.new_zeros(self._jets).index_add_(0, self._owner, x)

    def spread(self, x: Shaped[Tensor, " jets"]) -> Shaped[Tensor, " particles"]:
        """Give each particle the value of its jet."""
        return x[self._owner]

    def first_places(self, size: int) -> Int[Tensor, " particles"]:
        """Where the jet of each particle begins, if each jet has ``size`` places."""
        return self._owner * size

    def integers(self, x: Float32[Tensor, " particles"]) -> Int[Tensor, " particles"]:
        """Whole numbers of type float as indices."""
        return x.long()

    def add(
        self,
        target: Float32[Tensor, " places"],
        index: Int[Tensor, " particles"],
        x: Float32[Tensor, " particles"],
    ) -> None:
        """Add each value at its place; places may repeat."""
        target.index_add_(0, index, x)


class _Exportable:
    """torch, with what ONNX lacks written out; differs for a sign of -0 alone."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(torch, name)

    @staticmethod
    def copysign(size: Tensor, sign: Tensor) -> Tensor:
        """Give ``size`` >= 0 a sign."""
        return torch.where(sign < 0, -size, size)

    @staticmethod
    def arctan2(y: Tensor, x: Tensor) -> Tensor:
        """Angle of (x, y) in (-π, π]; 0 for no length."""
        steep = torch.abs(y) > torch.abs(x)
        longer = torch.where(steep, y, x)
        ratio = torch.where(steep, x, y) / torch.where(longer == 0, 1, longer)
        slope = torch.arctan(ratio)
        up = torch.where(y < 0, -math.pi, math.pi)
        flat = torch.where(x < 0, slope + up, slope)
        return torch.where(steep, up / 2 - slope, flat)


EXPORTABLE: Any = _Exportable()


class PaddedSegments:
    """Jets in a table with the same number of places each, as an exported network takes them.

    No size is looked at, so that the calls can be traced for any number of jets and places. What
    stands in places without a particle is the caller's business; with zero pT it weighs nothing.

    Args:
        jets: their number; a symbol while a network is exported.
    """

    xp: Any = EXPORTABLE

    def __init__(self, jets: int | torch.SymInt) -> None:
        self._jets: Any = jets

    def total(self, x: Float32[Tensor, "jets places"]) -> Float32[Tensor, " jets"]:
        """Sum over the places of each jet."""
        return x.sum(1)

    def spread(self, x: Shaped[Tensor, " jets"]) -> Shaped[Tensor, "jets 1"]:
        """Give each place the value of its jet, by broadcasting."""
        return x[:, None]

    def first_places(self, size: int) -> Int[Tensor, "jets 1"]:
        """Where the jet of each place begins, if each jet has ``size`` places."""
        return torch.arange(self._jets)[:, None] * size

    def integers(self, x: Float32[Tensor, "jets places"]) -> Int[Tensor, "jets places"]:
        """Whole numbers of type float as indices."""
        return x.long()

    def add(
        self,
        target: Float32[Tensor, " pixels"],
        index: Int[Tensor, "jets places"],
        x: Float32[Tensor, "jets places"],
    ) -> None:
        """Add each value at its place; places may repeat."""
        target.index_add_(0, index.flatten(), x.flatten())
