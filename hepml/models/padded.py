"""Particle Transformer on padded tables: the form in which it can be exported.

The packed form sorts jets and cuts them into groups, which depends on the numbers of particles of
each batch. Here every step is the same for any batch, at the price of computing on padding too.
"""

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from hepml.models.attention import ClassBlock
from hepml.models.batch_norm import BatchNorm
from hepml.models.pairs import PairEmbedding, between, kinematics
from hepml.models.particle_transformer import ParticleTransformer

_HIDDEN = -1e9  # added to scores; not -inf, whose softmax is NaN in a jet without particles


@dataclass(frozen=True)
class Table:
    """Jets that are in a table already."""

    real: Bool[Tensor, "jets length"]

    def pad(self, packed: Float[Tensor, "jets length width"]) -> Float[Tensor, "jets length width"]:
        """The same table."""
        return packed

    def unpad(
        self, table: Float[Tensor, "jets length width"]
    ) -> Float[Tensor, "jets length width"]:
        """The same table."""
        return table


class PaddedParticleTransformer(nn.Module):
    """The blocks and parameters of a packed network, on padded tables; not for training.

    Args:
        network: shared, not copied.
    """

    def __init__(self, network: ParticleTransformer) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        features: Float[Tensor, "jets places features"],
        momenta: Float[Tensor, "jets places 4"],
        real: Bool[Tensor, "jets places"],
    ) -> Float[Tensor, " jets *outputs"]:
        """Logits of each jet.

        Args:
            features: of the particles; finite, but of no effect where there is none.
            momenta: px, py, pz, energy in GeV; the same.
            real: True for particles, False for padding.
        """
        network, table = self.network, Table(real)
        x = network.embedding.layers(_normal(features, network.embedding.input_norm))
        bias = torch.where(real, 0.0, _HIDDEN)[:, None, None, :]
        if network.pairs is not None:
            bias = bias + _pair_bias(momenta, network.pairs)
        for block in network.blocks:
            x = block(x, table, bias)
        token = network.class_token.expand(real.shape[0], -1)
        for block in network.class_blocks:
            attention = cast(ClassBlock, block)
            token = attention.update(token, attention.attend(token, x, table))
        logits = network.head(network.norm(token))
        return logits.squeeze(-1) if logits.shape[1] == 1 else logits


def _pair_bias(
    momenta: Float[Tensor, "jets places 4"], embedding: PairEmbedding
) -> Float[Tensor, "jets heads places places"]:
    """What every two places say about each other."""
    each = kinematics(momenta, embedding.form)
    x = between(each[:, :, None], each[:, None, :], embedding.form)
    x = _normal(x, embedding.input_norm)
    for linear, norm in zip(embedding.linears, embedding.norms, strict=True):
        x = functional.gelu(_normal(linear(x), cast(BatchNorm, norm)))
    return x.permute(0, 3, 1, 2)


def _normal(x: Float[Tensor, "*rows width"], norm: BatchNorm) -> Float[Tensor, "*rows width"]:
    """Batch norm of the last axis by running moments, for tables of any rank."""
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("padded: batch norm without running mean and variance")
    return (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
