"""weaver-core's Particle Transformer as a network of one's own (docs/own-model.md).

It reads the same packed particles as ours and is trained by the same loop: the network is all that
differs. weaver-core 0.5.3 must be importable: ``pip install --no-deps weaver-core==0.5.3``.
"""

from torch import Tensor, nn
from weaver.nn.model.ParticleTransformer import ParticleTransformer

from hepml.models.packing import padded


class WeaverTransformer(nn.Module):
    """The size of our small Particle Transformer, otherwise as weaver makes it.

    Padding, the random trimming of long jets in training and the pair features are weaver's.

    Args:
        features: per particle.
        width: of the embedding and of all blocks.
        pair_width: of the hidden layer that embeds pairs.
        heads: of attention.
        layers: blocks of attention among particles.
    """

    def __init__(self, features: int, width: int, pair_width: int, heads: int, layers: int) -> None:
        super().__init__()
        undropped = dict.fromkeys(("dropout", "attn_dropout", "activation_dropout"), 0.0)
        self.network = ParticleTransformer(
            features,
            2,
            pair_input_dim=4,
            use_pre_activation_pair=False,
            embed_dims=(width, width),
            pair_embed_dims=(pair_width,),
            num_heads=heads,
            num_layers=layers,
            num_cls_layers=1,
            block_params=undropped,
        )

    def forward(self, features: Tensor, momenta: Tensor, counts: Tensor) -> Tensor:
        """Logit of the second class against the first, of each jet."""
        # a jet without particles has one of zeros: attention to nothing is no number
        table, _ = padded(features, counts)
        vectors, real = padded(momenta, counts)
        real[:, 0] = True
        scores = self.network(table.mT, v=vectors.mT, mask=real[:, None])
        return scores[:, 1] - scores[:, 0]


def build(
    features: int, width: int = 32, pair_width: int = 8, heads: int = 4, layers: int = 2
) -> nn.Module:
    """Make the network; the defaults are the size of ours."""
    return WeaverTransformer(features, width, pair_width, heads, layers)
