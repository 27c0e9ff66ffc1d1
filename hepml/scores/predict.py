"""Networks to numbers."""

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import nn

from hepml.inputs.source import Source, to_device

CHUNK = 4096  # events at a time: bounds the memory of hidden layers


@torch.no_grad()
def logits(
    network: nn.Module, source: Source, events: Int64[np.ndarray, " events"]
) -> Float[np.ndarray, " events"]:
    """Logit of each event in float64, the network being in evaluation mode.

    Args:
        network: a trained network; computes where it is.
        source: what it reads.
        events: which of the source's.
    """
    pieces = [events[start : start + CHUNK] for start in range(0, len(events), CHUNK)]
    device = next(network.parameters()).device
    inputs = (to_device(source.take(piece), device) for piece in pieces)
    results = [network(*each).double().cpu().numpy() for each in inputs]
    return np.concatenate(results) if results else np.empty(0)
