"""Networks to numbers."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import nn

from hepml.inputs.source import Source, to_device

CHUNK = 4096  # events at a time: bounds the memory of hidden layers


@dataclass(frozen=True)
class Combined:
    """What several networks say of each event.

    Attributes:
        mean: logarithm of their mean ratio.
        error: of the mean of the logarithms of their ratios; NaN for a single network.
    """

    mean: Float[np.ndarray, " events"]
    error: Float[np.ndarray, " events"]


def combine(each: Float[np.ndarray, "members events"]) -> Combined:
    """Ratio of an ensemble, and its error from the spread of the members, s/√n."""
    number = len(each)
    if number == 1:
        return Combined(each[0], np.full(each.shape[1], np.nan))
    sound = np.isfinite(each).all(axis=0)
    each = np.where(sound, each, 0.0)
    mean = np.logaddexp.reduce(each, axis=0) - np.log(number)
    # a member that fails must not vanish in the mean
    return Combined(np.where(sound, mean, np.nan), each.std(axis=0, ddof=1) / np.sqrt(number))


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
