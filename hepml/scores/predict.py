"""Networks to numbers."""

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

CHUNK = 65536  # events at a time: bounds the memory of hidden layers


@torch.no_grad()
def logits(
    network: nn.Module, inputs: Float[np.ndarray, "events features"]
) -> Float[np.ndarray, " events"]:
    """Logit of each event in float64, the network being in evaluation mode."""
    chunks = torch.from_numpy(inputs).split(CHUNK)
    return np.concatenate([network(chunk).double().numpy() for chunk in chunks])
