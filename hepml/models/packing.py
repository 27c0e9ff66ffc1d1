"""Jets of any length without padding, and groups of similar length where attention needs a table.

All particles ("tokens") of a batch form one table. Linear layers act on it as it is. Only attention
needs the particles of a jet side by side; for that, jets are sorted by length and cut into groups,
each padded to its longest jet: a fifth more pairs, where a common table has several times as many.
"""

import itertools
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

_STEP = 8  # lengths of tables are multiples of it: softmax is twice as fast on full vectors


@runtime_checkable
class Places(Protocol):
    """Particles of several jets, and how they come into a table with a row per jet and back."""

    @property
    def real(self) -> Bool[Tensor, "jets length"]:
        """True for particles, False for places without one."""

    def pad(self, packed: Float[Tensor, "*tokens width"]) -> Float[Tensor, "jets length width"]:
        """Table with one row of places per jet."""

    def unpad(self, table: Float[Tensor, "jets length width"]) -> Float[Tensor, "*tokens width"]:
        """Inverse of :meth:`pad`."""


@dataclass(frozen=True)
class Group:
    """Jets of similar length; all indices refer to the sorted order."""

    jets: slice
    tokens: slice
    length: int  # places of a jet in the table
    lengths: Int[Tensor, " jets"]
    firsts: Int[Tensor, " jets"]  # token of the group with which each jet begins
    slots: Int[Tensor, " tokens"]  # row of each token in the table (jets * length)
    rows: Int[Tensor, " places"]  # token in each row of the table; any token where there is none
    real: Bool[Tensor, "jets length"]

    def pad(self, packed: Float[Tensor, "tokens width"]) -> Float[Tensor, "jets length width"]:
        """Table with one row of places per jet.

        Places without a particle hold copies of some token: finite values that the caller must not
        let reach any result. Their gradient is taken to be zero.
        """
        table: Tensor = _Pad.apply(packed, self.rows, self.slots)  # type: ignore[no-untyped-call]
        return table.view(*self.real.shape, packed.shape[1])

    def unpad(self, table: Float[Tensor, "jets length width"]) -> Float[Tensor, "tokens width"]:
        """Inverse of :meth:`pad`."""
        flat = table.flatten(0, 1)
        packed: Tensor = _Unpad.apply(flat, self.slots)  # type: ignore[no-untyped-call]
        return packed


class _Pad(torch.autograd.Function):
    """Copies rows back and forth; torch's own gradient would add them up one by one."""

    @staticmethod
    def forward(ctx: Any, packed: Tensor, rows: Tensor, slots: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(slots)
        return packed.index_select(0, rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (slots,) = ctx.saved_tensors
        return grad.index_select(0, slots), None, None


class _Unpad(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, slots: Tensor) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(slots)
        ctx.places = len(table)
        return table.index_select(0, slots)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        (slots,) = ctx.saved_tensors
        return grad.new_zeros(ctx.places, grad.shape[1]).index_copy_(0, slots, grad), None


@dataclass(frozen=True)
class Packing:
    """Order of jets by length, and their groups."""

    jet_order: Int[Tensor, " jets"]
    token_order: Int[Tensor, " tokens"]
    groups: tuple[Group, ...]


def pack(counts: Int[Tensor, " jets"], together: int, device: torch.device) -> Packing:
    """Sort jets by length and form groups.

    Args:
        counts: particles of each jet; on the CPU, or the GPU is waited for.
        together: particles of a group at most, if it has more than one jet.
        device: where the indices are needed.
    """
    lengths = counts.cpu().numpy().astype(np.int64)
    order = np.argsort(lengths, kind="stable")
    starts = (np.cumsum(lengths) - lengths)[order]
    lengths = lengths[order]
    ends = np.cumsum(lengths)
    token_order = np.repeat(starts - (ends - lengths), lengths) + np.arange(lengths.sum())
    return Packing(
        jet_order=torch.from_numpy(order).to(device),
        token_order=torch.from_numpy(token_order).to(device),
        groups=tuple(
            _group(lengths, slice(first, last), device)
            for first, last in itertools.pairwise(_bounds(lengths, together))
        ),
    )


def padded(
    packed: Float[Tensor, "particles width"], counts: Int[Tensor, " jets"]
) -> tuple[Float[Tensor, "jets longest width"], Bool[Tensor, "jets longest"]]:
    """Lay out the particles of each jet in one row of a table.

    For networks that want a table: the larger the spread of ``counts``, the more of it is padding.

    Args:
        packed: values of all particles, one jet after another.
        counts: particles of each jet.

    Returns:
        The values, zero where there is no particle, and a mask that is True where there is one.
        The table has at least one column of places, also if no jet has a particle.
    """
    counts = counts.to(packed.device)
    longest = max(int(counts.max()), 1) if len(counts) else 1
    real = torch.arange(longest, device=packed.device) < counts[:, None]
    table = packed.new_zeros(*real.shape, packed.shape[1])
    return table.masked_scatter(real[..., None], packed), real


def _bounds(lengths: np.ndarray, together: int) -> list[int]:
    """Where groups begin and end.

    A group ends before it has more particles than ``together``, or, if it has half as many, where
    the next jet would need a longer table. Jets without particles are a group.
    """
    bounds, inside, places = [0], 0, 0
    padded = -(-lengths // _STEP) * _STEP
    for jet, (length, needed) in enumerate(zip(lengths.tolist(), padded.tolist(), strict=True)):
        longer = needed > places and (inside >= together / 2 or places == 0)
        if jet and (longer or inside + length > together):
            bounds.append(jet)
            inside = 0
        inside += length
        places = needed
    return [*bounds, len(lengths)] if len(lengths) else bounds


def _group(lengths: np.ndarray, jets: slice, device: torch.device) -> Group:
    own = lengths[jets]
    length = int(-(-own[-1] // _STEP) * _STEP)
    real = np.arange(length) < own[:, None]
    first = int(lengths[: jets.start].sum())
    slots = np.flatnonzero(real)
    rows = np.zeros(real.size, np.int64)
    rows[slots] = np.arange(len(slots))
    return Group(
        jets=jets,
        tokens=slice(first, first + int(own.sum())),
        length=length,
        lengths=torch.from_numpy(own).to(device),
        firsts=torch.from_numpy(np.cumsum(own) - own).to(device),
        slots=torch.from_numpy(slots).to(device),
        rows=torch.from_numpy(rows).to(device),
        real=torch.from_numpy(real).to(device),
    )
