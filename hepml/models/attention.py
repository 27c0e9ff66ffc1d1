"""Attention among the particles of jets, and of a class token to them, on packed particles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from hepml import kernels
from hepml.models import fused
from hepml.models.dropout import Dropout
from hepml.models.packing import Group, Places


@dataclass(frozen=True)
class BlockShape:
    """Size of an attention block.

    ``width`` is a multiple of ``heads``; the hidden layer has ``expansion * width`` units.
    """

    width: int = 128
    heads: int = 8
    expansion: int = 4


def glorot(linear: nn.Linear, step: float = 1.0, matrices: int = 1) -> None:
    """Initialise as weaver-core does: uniform with variance 2/(in + out), biases zero.

    Args:
        linear: layer of one or several matrices, one above another.
        step: scales the weights.
        matrices: q, k and v are three.
    """
    bound = step * math.sqrt(6 / (linear.in_features + linear.out_features // matrices))
    nn.init.uniform_(linear.weight, -bound, bound)
    nn.init.zeros_(linear.bias)


class Block(nn.Module):
    """What particle and class attention share: projections, norms and the network after attention.

    Layer norms before and after attention and within the network, and learned scales of heads and
    of the second residual, are those of NormFormer (arXiv:2110.09456), as in Particle Transformer.

    Args:
        shape: of the block.
        dropout: one for the whole network.
        step: scales the initial weights of what is added to the residual.
    """

    def __init__(self, shape: BlockShape, dropout: Dropout, step: float = 1.0) -> None:
        super().__init__()
        width, hidden = shape.width, shape.expansion * shape.width
        if width % shape.heads:
            raise ValueError(f"Block: width {width} is not a multiple of heads {shape.heads}")
        self.heads = shape.heads
        self.pre_attention_norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.head_scale = nn.Parameter(torch.ones(shape.heads))
        self.post_attention_norm = nn.LayerNorm(width)
        self.pre_network_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, hidden)
        self.post_activation_norm = nn.LayerNorm(hidden)
        self.narrow = nn.Linear(hidden, width)
        self.residual_scale = nn.Parameter(torch.ones(width))
        self.dropout = dropout
        glorot(self.qkv, matrices=3)
        glorot(self.widen)
        glorot(self.out, step)
        glorot(self.narrow, step)

    def residual_steps(
        self, x: Float[Tensor, "*rows width"], mixed: Float[Tensor, "*rows width"]
    ) -> Float[Tensor, "*rows width"]:
        """Add what attention found, then what the network makes of the sum."""
        if kernels.fit_for_rows(x, mixed):
            drops = kernels.Drops(
                self._factors(x.shape),
                self._factors((len(x), self.widen.out_features)),
                self._factors(x.shape),
            )
            norm = self.post_attention_norm
            return fused.residual_steps(
                x.contiguous(), mixed.contiguous(), drops, self._step_parameters(), norm.eps
            )
        found = self.out(mixed) * self._scale_of_columns()
        x = self.dropout.add(x, self.post_attention_norm(found))
        hidden = self.dropout(functional.gelu(self.widen(self.pre_network_norm(x))))
        hidden = self.narrow(self.post_activation_norm(hidden))
        return torch.addcmul(self.dropout(hidden), self.residual_scale, x)

    def normed_qkv(self, x: Float[Tensor, "*rows width"]) -> Float[Tensor, "*rows three_widths"]:
        """Queries, keys and values of normalised tokens, side by side."""
        if kernels.fit_for_rows(x):
            return fused.norm_linear(x.contiguous(), self.pre_attention_norm, self.qkv)
        return self.qkv(self.pre_attention_norm(x))

    def _scale_of_columns(self) -> Float[Tensor, " width"]:
        """The scale of its head for each column."""
        return self.head_scale.repeat_interleave(self.out.out_features // self.heads)

    def _step_parameters(self) -> kernels.BlockParameters:
        """Of the residual steps."""
        first, second, third = (
            self.post_attention_norm, self.pre_network_norm, self.post_activation_norm
        )  # fmt: skip
        return kernels.BlockParameters(
            self.out.weight, self.out.bias, self._scale_of_columns(),
            first.weight, first.bias, second.weight, second.bias,
            self.widen.weight, self.widen.bias, third.weight, third.bias,
            self.narrow.weight, self.narrow.bias, self.residual_scale,
        )  # fmt: skip

    def _factors(self, shape: Sequence[int]) -> Float[Tensor, "*shape"] | None:
        """Of dropout, if there is any."""
        return self.dropout.factors(shape) if self.dropout.active else None


class ParticleBlock(Block):
    """Every particle attends to the particles of its jet (arXiv:2202.03772, Sec. 3.2)."""

    def forward(
        self, x: Float[Tensor, "*tokens width"], group: Places, bias: Tensor
    ) -> Float[Tensor, "*tokens width"]:
        """Mix the particles of each jet of a group.

        Args:
            x: tokens of the group.
            group: which of them are of one jet.
            bias: added to the scores, (jets, heads or 1, length or 1, length).
        """
        qkv = self.normed_qkv(x)
        depth = x.shape[-1] // self.heads
        if isinstance(group, Group) and depth % kernels.LANES == 0 and kernels.fit_for(qkv, bias):
            mixed = self._attend_packed(qkv, group, bias)
        else:
            table = group.pad(qkv).unflatten(2, (3, self.heads, -1))
            q, k, v = table.permute(2, 0, 3, 1, 4).contiguous()
            mixed = self._attend(q, k, v, bias).transpose(1, 2).flatten(2)
            mixed = group.unpad(mixed)
        return self.residual_steps(x, mixed)

    def _attend_packed(
        self, qkv: Float[Tensor, "tokens three_widths"], group: Group, bias: Tensor
    ) -> Float[Tensor, "tokens width"]:
        """The same as :meth:`_attend`, straight from the tokens of a group."""
        jets = kernels.Jets(group.firsts, group.lengths, self.heads, group.length)
        scores = (len(group.lengths), self.heads, group.length, group.length)
        return fused.attention(qkv, bias, self._factors(scores), jets)

    def _attend(
        self,
        q: Float[Tensor, "jets heads length depth"],
        k: Float[Tensor, "jets heads length depth"],
        v: Float[Tensor, "jets heads length depth"],
        bias: Float[Tensor, " jets #heads #length length"],
    ) -> Float[Tensor, "jets heads length depth"]:
        """softmax(QKᵀ/√d + bias) V (arXiv:1706.03762, Eq. 1).

        On a CPU the products are written out: torch's own falls back to that, less lean, as soon as
        the bias needs a gradient.
        """
        if q.is_cuda:
            p = self.dropout.probability if self.training else 0.0
            return functional.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), p)
        scores = torch.baddbmm(
            bias.expand(*q.shape[:3], k.shape[2]).flatten(0, 1),
            q.flatten(0, 1),
            k.flatten(0, 1).mT,
            alpha=q.shape[-1] ** -0.5,
        )
        return (self.dropout(scores.softmax(-1)) @ v.flatten(0, 1)).view(q.shape)


class ClassBlock(Block):
    """A class token attends to itself and the particles (arXiv:2202.03772, Sec. 3.2)."""

    def forward(
        self, token: Float[Tensor, "jets width"], x: Float[Tensor, "*tokens width"], group: Places
    ) -> Float[Tensor, "jets width"]:
        """Update the class token of each jet of a group; see :meth:`attend`."""
        return self.update(token, self.attend(token, x, group))

    def attend(
        self, token: Float[Tensor, "jets width"], x: Float[Tensor, "*tokens width"], group: Places
    ) -> Float[Tensor, "jets width"]:
        """What the class token of each jet of a group finds.

        There is one query per jet, so the matrices of keys and values act on the query and on the
        result instead of all particles: q·(K x) = (Kᵀ q)·x, and Σ p V x = V Σ p x. The biases of
        the keys add the same to all scores of a jet, which softmax takes away.

        Args:
            token: of each jet.
            x: tokens of the particles.
            group: which of them are of one jet.
        """
        of_query, of_key, of_value = self.qkv.weight.chunk(3)
        bias_of_query, _, bias_of_value = self.qkv.bias.chunk(3)
        query = functional.linear(token, of_query, bias_of_query)  # not normalised, as published
        seen = group.pad(self.pre_attention_norm(x))
        seen = torch.cat([self.pre_attention_norm(token)[:, None], seen], 1)
        query = query.unflatten(1, (self.heads, -1)).transpose(0, 1)
        depth = query.shape[-1]
        query = (query @ of_key.unflatten(0, (self.heads, depth))).transpose(0, 1)
        hidden = functional.pad(off_padding(group, like=query)[:, 0], (1, 0))
        scores = torch.baddbmm(hidden.to(query.dtype), query, seen.mT, alpha=depth**-0.5)
        found = (scores.softmax(-1) @ seen).transpose(0, 1)  # (heads, jets, width)
        mixed = found @ of_value.unflatten(0, (self.heads, depth)).mT
        return mixed.transpose(0, 1).flatten(1) + bias_of_value

    def update(
        self, token: Float[Tensor, "jets width"], found: Float[Tensor, "jets width"]
    ) -> Float[Tensor, "jets width"]:
        """Residual steps of the class tokens with what they found."""
        return self.residual_steps(token, found)


def off_padding(group: Places, like: Tensor) -> Float[Tensor, "jets 1 1 length"]:
    """Bias that only keeps attention off places without a particle."""
    bias = like.new_zeros(group.real.shape).masked_fill_(~group.real, -torch.inf)
    return bias[:, None, None, :]
