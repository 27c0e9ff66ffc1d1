"""Deep Sets (arXiv:1703.06114; for jets arXiv:1810.05165): f(Σ g(particle)), on packed jets."""

import torch
from torch import Tensor, nn


class DeepSets(nn.Module):
    """One network for each particle, a sum over the jet, another network for the sum."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.particle = nn.Sequential(
            nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.jet = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, features: Tensor, momenta: Tensor, counts: Tensor) -> Tensor:  # noqa: ARG002
        """Logit of each jet, one without particles included."""
        encoded = self.particle(features)
        jet = torch.repeat_interleave(counts.to(encoded.device))  # jet of each particle
        total = encoded.new_zeros(len(counts), encoded.shape[1]).index_add(0, jet, encoded)
        return self.jet(total).squeeze(-1)


def build(features: int, width: int = 64) -> nn.Module:
    """Make the network; ``width`` can be set by ``options`` in the config."""
    return DeepSets(features, width)
