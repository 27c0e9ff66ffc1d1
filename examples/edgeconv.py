"""A small network in the manner of ParticleNet (arXiv:1902.08570), on padded particles."""

import torch
from torch import Tensor, nn

from hepml.inputs.sets import FEATURES
from hepml.models.packing import padded

# columns of part_deta and part_dphi, where neighbours are looked for
DIRECTION = [list(FEATURES["kin"]).index(name) for name in ("part_deta", "part_dphi")]


class EdgeConv(nn.Module):
    """Mean over the neighbours of a function of particle and neighbour (arXiv:1801.07829)."""

    def __init__(self, before: int, after: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.edge = nn.Sequential(
            nn.Linear(2 * before, after), nn.ReLU(), nn.Linear(after, after), nn.ReLU()
        )

    def forward(self, x: Tensor, near: Tensor, real: Tensor) -> Tensor:
        """New values of each particle, shape (jets, places, after).

        Args:
            x: values, shape (jets, places, before).
            near: places of the neighbours, shape (jets, places, neighbours).
            real: True for particles, False for padding, shape (jets, places).
        """
        jets = torch.arange(len(x), device=x.device)[:, None, None]
        neighbour = x[jets, near]  # (jets, places, neighbours, before)
        centre = x[:, :, None].expand_as(neighbour)
        found = (real[:, :, None] & real[jets, near])[..., None]
        edges = self.edge(torch.cat([centre, neighbour - centre], dim=-1)) * found
        return edges.sum(dim=2) / found.sum(dim=2).clamp(min=1)


class Network(nn.Module):
    """Two edge convolutions on the same neighbours, a mean over the jet, one logit."""

    def __init__(self, features: int, width: int, neighbours: int) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.first = EdgeConv(features, width, neighbours)
        self.second = EdgeConv(width, width, neighbours)
        self.jet = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, features: Tensor, momenta: Tensor, counts: Tensor) -> Tensor:  # noqa: ARG002
        """Logit of each jet."""
        x, real = padded(features, counts)
        near = self._nearest(x[..., DIRECTION], real)
        x = self.second(self.first(x, near, real), near, real)
        size = real.sum(dim=1, keepdim=True).clamp(min=1)
        return self.jet(x.sum(dim=1) / size).squeeze(-1)

    def _nearest(self, where: Tensor, real: Tensor) -> Tensor:
        """Places of the particles nearest to each, itself among them; padding is far away."""
        # exact differences: through matrix products, rounding would choose among close neighbours
        distance = torch.cdist(where, where, compute_mode="donot_use_mm_for_euclid_dist")
        distance = distance.masked_fill(~real[:, None, :], torch.inf)
        return distance.topk(min(self.neighbours, real.shape[1]), largest=False).indices


def build(features: int, width: int = 32, neighbours: int = 8) -> nn.Module:
    """Make the network; the sizes can be set by ``options`` in the config."""
    return Network(features, width, neighbours)
