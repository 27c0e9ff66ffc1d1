"""Attention among the particles of jets, and of a class token to them, on packed particles."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from hepml.models.packing import Group


class Dropout(nn.Module):
    """Dropout that costs little on a CPU: one random byte decides per value.

    The probability is rounded to a multiple of 1/256 there (0.1 becomes 26/256) and what is kept is
    scaled accordingly, so that the mean is exact. On a GPU it is the usual dropout.

    Args:
        probability: to drop a value in training.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.threshold = round(256 * probability)
        self.probability = probability

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Drop values in training, leave them alone otherwise."""
        if not self.training or self.threshold == 0:
            return x
        if x.is_cuda:
            return functional.dropout(x, self.probability)
        words = torch.empty((x.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= self.threshold
        return _Keep.apply(x, kept, 256 / (256 - self.threshold))  # type: ignore[no-untyped-call]


class _Keep(torch.autograd.Function):
    """Where ``kept``, x times ``scale``; a float mask would cost twice as much."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(kept)
        ctx.scale = scale
        return torch.where(kept, x, x.new_zeros(())).mul_(scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (kept,) = ctx.saved_tensors
        return torch.where(kept, grad, grad.new_zeros(())).mul_(ctx.scale), None, None


@dataclass(frozen=True)
class BlockShape:
    """Size of an attention block.

    ``width`` is a multiple of ``heads``; the hidden layer has ``expansion * width`` units.
    """

    width: int = 128
    heads: int = 8
    expansion: int = 4
    dropout: float = 0.1


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
        step: scales the initial weights of what is added to the residual.
    """

    def __init__(self, shape: BlockShape, step: float = 1.0) -> None:
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
        self.dropout = Dropout(shape.dropout)
        glorot(self.qkv, matrices=3)
        glorot(self.widen)
        glorot(self.out, step)
        glorot(self.narrow, step)

    def add_attention(
        self, x: Float[Tensor, "rows width"], mixed: Float[Tensor, "rows width"]
    ) -> Float[Tensor, "rows width"]:
        """Residual step of attention; scaling heads after the projection scales its rows."""
        scale = self.head_scale.repeat_interleave(len(self.out.bias) // self.heads)
        mixed = functional.linear(mixed, self.out.weight * scale[:, None], self.out.bias * scale)
        return x + self.dropout(self.post_attention_norm(mixed))

    def add_network(self, x: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Residual step of the network."""
        hidden = self.dropout(functional.gelu(self.widen(self.pre_network_norm(x))))
        hidden = self.narrow(self.post_activation_norm(hidden))
        return torch.addcmul(self.dropout(hidden), self.residual_scale, x)

    def attend(
        self,
        q: Float[Tensor, "jets heads queries depth"],
        k: Float[Tensor, "jets heads keys depth"],
        v: Float[Tensor, "jets heads keys depth"],
        bias: Float[Tensor, " jets #heads #queries keys"],
    ) -> Float[Tensor, "jets queries width"]:
        """softmax(QKᵀ/√d + bias) V (arXiv:1706.03762, Eq. 1), heads side by side.

        On a CPU the products are written out: torch's own falls back to that, less lean, as soon as
        the bias needs a gradient.
        """
        if q.is_cuda:
            p = self.dropout.probability if self.training else 0.0
            mixed = functional.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), p)
        else:
            shape = (*q.shape[:3], k.shape[2])
            scores = torch.baddbmm(
                bias.expand(shape).flatten(0, 1),
                q.flatten(0, 1),
                k.flatten(0, 1).mT,
                alpha=q.shape[-1] ** -0.5,
            )
            mixed = self.dropout(scores.softmax(-1)) @ v.flatten(0, 1)
            mixed = mixed.view(q.shape)
        return mixed.transpose(1, 2).flatten(2)


class ParticleBlock(Block):
    """Every particle attends to the particles of its jet (arXiv:2202.03772, Sec. 3.2)."""

    def forward(
        self, x: Float[Tensor, "tokens width"], group: Group, bias: Tensor
    ) -> Float[Tensor, "tokens width"]:
        """Mix the particles of each jet of a group.

        Args:
            x: tokens of the group.
            group: which of them are of one jet.
            bias: added to the scores, (jets, heads or 1, length or 1, length).
        """
        table = group.pad(self.qkv(self.pre_attention_norm(x))).unflatten(2, (3, self.heads, -1))
        q, k, v = table.permute(2, 0, 3, 1, 4).contiguous()
        return self.add_network(self.add_attention(x, group.unpad(self.attend(q, k, v, bias))))


class ClassBlock(Block):
    """A class token attends to itself and the particles (arXiv:2202.03772, Sec. 3.2)."""

    def forward(
        self, token: Float[Tensor, "jets width"], x: Float[Tensor, "tokens width"], group: Group
    ) -> Float[Tensor, "jets width"]:
        """Update the class token of each jet of a group.

        Args:
            token: of each jet.
            x: tokens of the particles.
            group: which of them are of one jet.
        """
        width = token.shape[1]
        of_query, of_rest = self.qkv.weight.split([width, 2 * width])
        bias_of_query, bias_of_rest = self.qkv.bias.split([width, 2 * width])
        query = functional.linear(token, of_query, bias_of_query)  # not normalised, as published
        own = functional.linear(self.pre_attention_norm(token), of_rest, bias_of_rest)
        theirs = functional.linear(self.pre_attention_norm(x), of_rest, bias_of_rest)
        table = torch.cat([own[:, None], group.pad(theirs)], 1)
        k, v = table.unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4).contiguous()
        q = query.unflatten(1, (self.heads, 1, -1))
        bias = functional.pad(off_padding(group, like=theirs), (1, 0))
        return self.add_network(self.add_attention(token, self.attend(q, k, v, bias).flatten(0, 1)))


def off_padding(group: Group, like: Tensor) -> Float[Tensor, "jets 1 1 length"]:
    """Bias that only keeps attention off places without a particle."""
    bias = like.new_zeros(group.real.shape).masked_fill_(~group.real, -torch.inf)
    return bias[:, None, None, :]
