"""Jets of any length without padding, and groups of similar length where attention needs a table.

All particles ("tokens") of a batch form one table. Linear layers act on it as it is. Only attention
needs the particles of a jet side by side; for that, jets are sorted by length and cut into groups,
each padded to its longest jet: with 8 groups a few per cent of padding, where a common table has
more padding than particles.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """Jets of similar length; all indices refer to the sorted order."""

    jets: slice
    tokens: slice
    length: int  # particles of the longest jet
    lengths: Int[Tensor, " jets"]
    slots: Int[Tensor, " tokens"]  # rows of the tokens in the padded table (jets * length)
    real: Bool[Tensor, "jets length"]

    def pad(self, packed: Float[Tensor, "tokens width"]) -> Float[Tensor, "jets length width"]:
        """Table with one row of places per jet; zero where there is no particle."""
        table = packed.new_zeros(self.real.numel(), packed.shape[1])
        table = table.index_copy(0, self.slots, packed)
        return table.view(*self.real.shape, packed.shape[1])

    def unpad(self, table: Float[Tensor, "jets length width"]) -> Float[Tensor, "tokens width"]:
        """Inverse of :meth:`pad`."""
        return table.flatten(0, 1).index_select(0, self.slots)


@dataclass(frozen=True)
class Packing:
    """Order of jets by length, and their groups."""

    jet_order: Int[Tensor, " jets"]
    token_order: Int[Tensor, " tokens"]
    groups: tuple[Group, ...]


def pack(counts: Int[Tensor, " jets"], groups: int, device: torch.device) -> Packing:
    """Sort jets by length and form groups.

    Args:
        counts: particles of each jet; on the CPU, or the GPU is waited for.
        groups: number of groups at most.
        device: where the indices are needed.
    """
    lengths = counts.cpu().numpy().astype(np.int64)
    order = np.argsort(lengths, kind="stable")
    starts = (np.cumsum(lengths) - lengths)[order]
    lengths = lengths[order]
    ends = np.cumsum(lengths)
    token_order = np.repeat(starts - (ends - lengths), lengths) + np.arange(lengths.sum())
    bounds = _bounds(lengths, groups)
    return Packing(
        jet_order=torch.from_numpy(order).to(device),
        token_order=torch.from_numpy(token_order).to(device),
        groups=tuple(
            _group(lengths, slice(first, last), device)
            for first, last in itertools.pairwise(bounds)
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


def _bounds(lengths: np.ndarray, groups: int) -> list[int]:
    """Where groups begin and end: jets without particles, then about as many jets in each."""
    empty = int(np.searchsorted(lengths, 0, side="right"))
    cuts = np.linspace(empty, len(lengths), groups + 1).round().astype(int)
    return np.unique([0, *cuts]).tolist()


def _group(lengths: np.ndarray, jets: slice, device: torch.device) -> Group:
    own = lengths[jets]
    length = int(own[-1])
    real = np.arange(length) < own[:, None]
    first = int(lengths[: jets.start].sum())
    return Group(
        jets=jets,
        tokens=slice(first, first + int(own.sum())),
        length=length,
        lengths=torch.from_numpy(own).to(device),
        slots=torch.from_numpy(np.flatnonzero(real)).to(device),
        real=torch.from_numpy(real).to(device),
    )
