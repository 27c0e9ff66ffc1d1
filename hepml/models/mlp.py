"""A multilayer perceptron on named variables."""

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hepml.inputs.features import Standardisation


class Mlp(nn.Module):
    """Linear layers with SiLU between them; one logit per event.

    Args:
        standardisation: of the input features; kept inside, so that the network takes physical
            values wherever it is used.
        hidden: width of each hidden layer.
        dropout: probability to drop a hidden unit in training.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, standardisation: Standardisation, hidden: Sequence[int], dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(standardisation.mean))
        self.register_buffer("deviation", torch.tensor(standardisation.deviation))
        layers: list[nn.Module] = []
        widths = [len(standardisation.mean), *hidden]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.SiLU()]
            layers += [nn.Dropout(dropout)] if dropout else []
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], 1))

    def forward(self, features: Float[Tensor, "batch features"]) -> Float[Tensor, " batch"]:
        """Logit of each event: ln p(x|S)/p(x|B) once trained on balanced classes."""
        return self.layers((features - self.mean) / self.deviation).squeeze(-1)
