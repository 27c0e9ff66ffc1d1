"""What two particles say about each other: the bias of particle attention.

Particle Transformer (arXiv:2202.03772, Eq. 3): ln Δ, ln kT, ln z and ln m² of every pair are
embedded and added to the scores of attention. All four are symmetric: pairs i ≥ j suffice.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from hepml import kernels
from hepml.models import fused
from hepml.models.batch_norm import BatchNorm, SharedBatchNorm
from hepml.models.packing import Group, Packing
from hepml.models.rows import Layer, infer_rows, row_moments, train_rows

PairForm = Literal["published", "massless"]
_SMALLEST = 1e-8  # under each logarithm, as published


@dataclass(frozen=True)
class Pairs:
    """Pairs i ≥ j within the jets of a group: first all i > j, then i = j."""

    i: Int[Tensor, " pairs"]  # tokens, in the sorted order of the packing
    j: Int[Tensor, " pairs"]
    different: int  # pairs with i > j


def find_pairs(group: Group) -> Pairs:
    """All pairs of real particles of each jet, jet by jet and row by row."""
    rows, cols = torch.tril_indices(group.length, group.length, -1, device=group.slots.device)
    jet, pair = (rows < group.lengths[:, None]).nonzero(as_tuple=True)
    row, col, first = rows[pair], cols[pair], group.tokens.start + group.firsts[jet]
    token = torch.arange(group.tokens.start, group.tokens.stop, device=first.device)
    return Pairs(
        i=torch.cat([first + row, token]), j=torch.cat([first + col, token]), different=len(jet)
    )


@torch.no_grad()  # momenta are data
def pair_features(
    momenta: Float[Tensor, "tokens 4"],
    i: Int[Tensor, " pairs"],
    j: Int[Tensor, " pairs"],
    form: PairForm,
) -> Float[Tensor, "pairs 4"]:
    """Logarithms of kT, z, Δ and m² of pairs of particles, in this order.

    Δ² = Δy² + Δφ², kT = min(pT) Δ, z = min(pT) / (pTi + pTj), m² = (pi + pj)²; arXiv:2202.03772,
    Eq. (3), each at least 1e-8 under the logarithm.

    Args:
        momenta: px, py, pz, energy in GeV.
        i: tokens.
        j: tokens.
        form: ``published`` takes rapidities and E² - p² as weaver-core does, for networks trained
            there; in float32 m² loses all digits where m ≪ E. ``massless`` takes particles
            without mass, y = asinh(pz/pT) and m² = 4 pTi pTj (sinh²(Δy/2) + sin²(Δφ/2)), exact to
            rounding for all angles.
    """
    each = kinematics(momenta.to(torch.promote_types(momenta.dtype, torch.float32)), form)
    return between(each.index_select(0, i), each.index_select(0, j), form)


def between(
    first: Float[Tensor, "*#pairs 7"], second: Float[Tensor, "*#pairs 7"], form: PairForm
) -> Float[Tensor, "*pairs 4"]:
    """The same of two particles each, from their :func:`kinematics`."""
    a, b = first.unbind(-1), second.unbind(-1)
    dy, dphi = a[1] - b[1], (a[2] - b[2] + torch.pi) % (2 * torch.pi) - torch.pi
    delta = (dy.square() + dphi.square()).sqrt()
    softer = torch.minimum(a[0], b[0])
    z = softer / (a[0] + b[0]).clamp(min=_SMALLEST)
    if form == "massless":
        m2 = 4 * a[0] * b[0] * ((dy / 2).sinh().square() + (dphi / 2).sin().square())
    else:  # the order of the sum matters: other orders moved logits by 4e-3
        px, py, pz, energy = (x + y for x, y in zip(a[3:], b[3:], strict=True))
        m2 = energy.square() - (px.square() + py.square() + pz.square())
    return torch.stack([softer * delta, z, delta, m2], dim=-1).clamp_(min=_SMALLEST).log_()


def kinematics(momenta: Float[Tensor, "*tokens 4"], form: PairForm) -> Float[Tensor, "*tokens 7"]:
    """Give pT, y, φ, px, py, pz and energy; y is finite for a particle along the beam, too."""
    px, py, pz, energy = momenta.unbind(-1)
    pt = (px.square() + py.square()).sqrt()
    if form == "massless":
        y = (pz / pt.clamp(min=_SMALLEST)).asinh()
    else:
        ratio = 1 + (2 * pz) / (energy - pz).clamp(min=1e-20)
        y = 0.5 * ratio.clamp(min=1e-20).log()
    return torch.stack([pt, y, torch.atan2(py, px), px, py, pz, energy], dim=-1)


class PairEmbedding(nn.Module):
    """Features of pairs → one number per attention head: linear layers, batch norm and GELU.

    Args:
        hidden: width of each hidden layer.
        heads: attention heads of the particle blocks.
        form: of the features, see :func:`pair_features`.
    """

    def __init__(self, hidden: Sequence[int], heads: int, form: PairForm) -> None:
        super().__init__()
        self.form = form
        widths = [4, *hidden, heads]
        self.input_norm = BatchNorm(4)
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(BatchNorm(b) for b in widths[1:])

    def forward(
        self, momenta: Float[Tensor, "tokens 4"], packing: Packing
    ) -> list[Float[Tensor, "jets heads length length"]]:
        """Bias of the attention scores in each group, -inf for places without a particle."""
        if not packing.groups:
            return []
        pairs = [find_pairs(group) for group in packing.groups]
        features = [pair_features(momenta, p.i, p.j, self.form) for p in pairs]
        embedded = self.embed(torch.cat(features)).split([len(f) for f in features])
        return [_table(*each) for each in zip(embedded, pairs, packing.groups, strict=True)]

    def embed(self, x: Float[Tensor, "pairs 4"]) -> Float[Tensor, "pairs heads"]:
        """Embed the features of pairs; on a CPU without large intermediate tensors."""
        layers = [Layer(*pair) for pair in zip(self.linears, self.norms, strict=True)]
        if x.is_cpu and not torch.is_grad_enabled() and not self.training:
            return infer_rows(x, self.input_norm, layers)
        if x.is_cpu and self.training:
            norm = self.input_norm
            moments = row_moments(x, norm.total if isinstance(norm, SharedBatchNorm) else None)
            if moments.rows > 1:
                return train_rows(x, moments, norm, layers)
        x = self.input_norm(x)
        for layer in layers:
            x = functional.gelu(layer.norm(layer.linear(x)))
        return x


def _table(
    embedded: Float[Tensor, "pairs heads"], pairs: Pairs, group: Group
) -> Float[Tensor, "jets heads length length"]:
    """Both halves of a symmetric table per jet and head, -inf in columns without a particle."""
    if kernels.fit_for(embedded):
        return fused.pair_table(embedded, group.lengths, group.length)
    jets, length = group.real.shape
    i, j = (group.slots[tokens - group.tokens.start] for tokens in (pairs.i, pairs.j))
    above = (j * length + i % length)[: pairs.different]
    places = torch.cat([i * length + j % length, above])
    table = embedded.new_zeros(jets * length * length, embedded.shape[1])
    table = table.index_copy(0, places, torch.cat([embedded, embedded[: pairs.different]]))
    table = table.view(jets, length, length, embedded.shape[1]).permute(0, 3, 1, 2).contiguous()
    return table.masked_fill_(~group.real[:, None, None, :], -torch.inf)
