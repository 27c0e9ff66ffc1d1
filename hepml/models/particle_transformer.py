"""Particle Transformer: attention among the particles of a jet, biased by what pairs say."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from hepml.models.attention import BlockShape, ClassBlock, ParticleBlock, glorot, off_padding
from hepml.models.batch_norm import BatchNorm
from hepml.models.dropout import Dropout
from hepml.models.packing import Group, Packing, pack
from hepml.models.pairs import PairEmbedding, PairForm


@dataclass(frozen=True)
class Architecture:
    """Size of a Particle Transformer; the defaults are the published one (arXiv:2202.03772).

    Attributes:
        embedding: widths of the embedding of particles; the last is that of all blocks.
        pair_embedding: hidden widths of the embedding of pairs.
        heads: of attention; divides the last width.
        layers: blocks of attention among particles.
        class_layers: blocks of attention of the class token to the particles.
        dropout: in the particle blocks.
        pairs: False is the plain set transformer, without the bias of pairs.
        pair_form: see :func:`hepml.models.pairs.pair_features`.
    """

    embedding: tuple[int, ...] = (128, 512, 128)
    pair_embedding: tuple[int, ...] = (64, 64, 64)
    heads: int = 8
    layers: int = 8
    class_layers: int = 2
    dropout: float = 0.1
    pairs: bool = True
    pair_form: PairForm = "published"


_GROUPS = 8  # of a batch at most on a GPU, about
PUBLISHED = Architecture()
SMALL = Architecture(
    embedding=(32, 32),
    pair_embedding=(8,),
    heads=4,
    layers=2,
    class_layers=1,
    dropout=0.0,
    pair_form="massless",
)  # trains on a CPU


class ParticleEmbedding(nn.Module):
    """Features of particles → tokens: batch norm, then layer norm, linear layer and GELU each time.

    Args:
        inputs: features per particle.
        widths: of the layers.
    """

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.input_norm = BatchNorm(inputs)
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([inputs, *widths]):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.layers = nn.Sequential(*layers)

    def forward(self, features: Float[Tensor, "tokens features"]) -> Float[Tensor, "tokens width"]:
        """Embed every particle by itself."""
        return self.layers(self.input_norm(features))


class ParticleTransformer(nn.Module):
    """Particle Transformer (arXiv:2202.03772) on packed particles; logits of each jet.

    Permuting the particles of a jet changes nothing. Every particle is used: the random trimming
    of long jets in weaver-core is left out. A jet without particles has a learned output.

    Args:
        inputs: features per particle.
        architecture: size; the published one by default.
        outputs: logits per jet; 1 for signal against background.
        together: particles that a CPU takes through all blocks at once, so that what is made of
            them stays in the cache; changes the speed alone.
    """

    def __init__(
        self,
        inputs: int,
        architecture: Architecture = PUBLISHED,
        outputs: int = 1,
        together: int = 2000,
    ) -> None:
        super().__init__()
        a, width = architecture, architecture.embedding[-1]
        self.together = together
        self.embedding = ParticleEmbedding(inputs, a.embedding)
        self.pairs = PairEmbedding(a.pair_embedding, a.heads, a.pair_form) if a.pairs else None
        shape = BlockShape(width, a.heads)
        self.dropout = Dropout(a.dropout)
        self.blocks = nn.ModuleList(
            ParticleBlock(shape, self.dropout, step=(2.0 * depth) ** -0.5)
            for depth in range(1, a.layers + 1)
        )  # deeper blocks start with smaller steps, as in weaver-core
        self.class_token = nn.Parameter(torch.empty(width))
        self.class_blocks = nn.ModuleList(
            ClassBlock(shape, Dropout(0.0)) for _ in range(a.class_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, outputs)
        nn.init.trunc_normal_(self.class_token, std=0.02)
        for module in (*self.embedding.layers, self.head):
            if isinstance(module, nn.Linear):
                glorot(module)

    def forward(
        self,
        features: Float[Tensor, "particles features"],
        momenta: Float[Tensor, "particles 4"],
        counts: Int[Tensor, " jets"],
    ) -> Float[Tensor, " jets *outputs"]:
        """Logits of each jet, shape (jets,) if there is one output.

        Args:
            features: of the particles, those of one jet after those of another.
            momenta: px, py, pz, energy of the same particles in GeV.
            counts: particles of each jet; best kept on the CPU, where they are needed.
        """
        together = max(self.together, len(features) // _GROUPS if features.is_cuda else 0)
        packing = pack(counts, together, features.device)
        if self.dropout.active and features.is_cpu:
            self.dropout.redraw()
        normed = self.embedding.input_norm(features.index_select(0, packing.token_order))
        if self.pairs is None:
            biases = [off_padding(group, like=normed) for group in packing.groups]
        else:
            biases = self.pairs(momenta.index_select(0, packing.token_order), packing)
        tokens = [
            self._blocks(self.embedding.layers(normed[group.tokens]), group, bias)
            for group, bias in zip(packing.groups, biases, strict=True)
        ]
        logits = self.head(self.norm(self._class_tokens(tokens, packing)))
        logits = torch.empty_like(logits).index_copy(0, packing.jet_order, logits)
        return logits.squeeze(-1) if logits.shape[1] == 1 else logits

    def _blocks(
        self, x: Float[Tensor, "tokens width"], group: Group, bias: Tensor
    ) -> Float[Tensor, "tokens width"]:
        """All blocks of one group, one after another: its tokens stay in the cache."""
        for block in self.blocks if len(x) else ():
            x = block(x, group, bias)
        return x

    def _class_tokens(
        self, tokens: Sequence[Float[Tensor, "_ width"]], packing: Packing
    ) -> Float[Tensor, "jets width"]:
        """What the class token of each jet becomes."""
        token = self.class_token.expand(len(packing.jet_order), -1)
        for block in map(_class_block, self.class_blocks):
            found = [
                block.attend(token[group.jets], x, group)
                for x, group in zip(tokens, packing.groups, strict=True)
            ]
            token = block.update(token, torch.cat(found)) if found else token
        return token


def _class_block(module: nn.Module) -> ClassBlock:
    """A member of a module list with its type."""
    return cast(ClassBlock, module)


_FROM_WEAVER = (
    (r"^mod\.", ""),
    (r"in_proj_(weight|bias)$", r"in_proj.\1"),  # files from before weaver-core 0.5
    (r"^embed\.input_bn\.", "embedding.input_norm."),
    (r"^embed\.embed\.", "embedding.layers."),
    (r"^cls_token$", "class_token"),
    (r"^cls_blocks\.", "class_blocks."),
    (r"^fc\.0\.", "head."),
    (r"\.pre_attn_norm\.", ".pre_attention_norm."),
    (r"\.attn\.in_proj\.", ".qkv."),
    (r"\.attn\.out_proj\.", ".out."),
    (r"\.c_attn$", ".head_scale"),
    (r"\.post_attn_norm\.", ".post_attention_norm."),
    (r"\.pre_fc_norm\.", ".pre_network_norm."),
    (r"\.fc1\.", ".widen."),
    (r"\.post_fc_norm\.", ".post_activation_norm."),
    (r"\.fc2\.", ".narrow."),
    (r"\.w_resid$", ".residual_scale"),
)


def from_weaver(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State of weaver-core's ParticleTransformer (version 1, "pp" pairs) under our names.

    Load it with ``load_state_dict`` into a network of ``pair_form="published"``; of the published
    files, the tagger's prefix ``mod.`` and the older names of attention are understood.
    """
    renamed = {}
    for name, value in state.items():
        for pattern, ours in _FROM_WEAVER:
            name = re.sub(pattern, ours, name)
        if name == "class_token":
            value = value.flatten()
        if name.startswith("pair_embed.embed."):
            name, value = _pair_layer(name, value)
        renamed[name] = value
    return renamed


def _pair_layer(name: str, value: Tensor) -> tuple[str, Tensor]:
    """pair_embed.embed.N: 0 is the input norm, then convolution, norm and GELU in turn."""
    number, leaf = name.removeprefix("pair_embed.embed.").split(".")
    if number == "0":
        return f"pairs.input_norm.{leaf}", value
    layer, part = divmod(int(number) - 1, 3)
    if part == 0 and leaf == "weight":
        value = value.squeeze(-1)  # a convolution of kernel 1
    return f"pairs.{('linears', 'norms')[part]}.{layer}.{leaf}", value
