"""Networks: pure modules that return logits."""

from torch import nn

from hepml.config import Model
from hepml.inputs.features import Standardisation
from hepml.models.mlp import Mlp


def build(settings: Model, standardisation: Standardisation) -> nn.Module:
    """Build the network that the settings describe."""
    return Mlp(standardisation, settings.hidden, settings.dropout)
