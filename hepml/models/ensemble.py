"""Several networks as one."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Ensemble(nn.Module):
    """Networks side by side, whose likelihood ratio is the mean of theirs.

    The mean of ratios r, not of their logarithms: E_B[r] = 1 of the members is E_B[r] = 1 of it.

    Args:
        members: networks with the same inputs and one logit per event.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, *inputs: Tensor) -> Float[Tensor, " batch"]:
        """Ln of the mean of the exponentials of the members' logits."""
        logits = torch.stack([member(*inputs) for member in self.members])
        return torch.logsumexp(logits, dim=0) - math.log(len(self.members))


def together(networks: Sequence[nn.Module]) -> nn.Module:
    """One network as it is, several as an :class:`Ensemble`."""
    return networks[0] if len(networks) == 1 else Ensemble(networks)


def members_of(network: nn.Module) -> tuple[nn.Module, ...]:
    """The networks of an ensemble, or a single network."""
    return tuple(network.members) if isinstance(network, Ensemble) else (network,)
