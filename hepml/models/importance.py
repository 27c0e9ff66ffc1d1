"""What a network on particles listens to: how its logit changes when a particle is taken away."""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor, nn

COPIES = 256  # jets evaluated at a time, which bounds memory


@torch.no_grad()
def removal_effects(
    network: nn.Module,
    features: Float[Tensor, "particles features"],
    momenta: Float[Tensor, "particles 4"],
    counts: Int[Tensor, " jets"],
) -> Float64[np.ndarray, " particles"]:
    """Logit of the jet less its logit without one particle, for each particle in turn.

    Positive where the particle makes its jet more signal-like. Nothing else changes: what the
    network reads of the other particles, such as their share of the jet's momentum, stays as it
    was. A network that adds up one term per particle has exactly these terms as effects; of others
    the effects need not sum up to anything.

    Args:
        network: one logit per jet, independent of the other jets; evaluated without dropout, and
            left in the mode it came in.
        features: of the particles, those of one jet after those of another.
        momenta: px, py, pz, energy of the same particles.
        counts: particles of each jet.
    """
    training = network.training
    network.eval()
    effects = np.empty(int(counts.sum()))
    for jets, first in _pieces(counts.numpy()):
        rows, lengths = _with_and_without(jets, first)
        chosen = torch.from_numpy(rows).to(features.device)
        logits = network(features[chosen], momenta[chosen], torch.from_numpy(lengths))
        logits = logits.double().cpu().numpy()
        whole = np.cumsum(jets + 1) - jets - 1  # each jet as it is, before its copies
        without = np.delete(logits, whole)
        effects[first : first + len(without)] = np.repeat(logits[whole], jets) - without
    network.train(training)
    return effects


def _pieces(counts: Int[np.ndarray, " jets"]) -> Iterator[tuple[np.ndarray, int]]:
    """Jets that make about ``COPIES`` copies together: their counts, and their first particle."""
    offsets = np.concatenate([[0], np.cumsum(counts)])
    piece = np.cumsum(counts + 1) // COPIES
    for number in np.unique(piece):
        jets = np.flatnonzero(piece == number)
        yield counts[jets], int(offsets[jets[0]])


def _with_and_without(
    counts: Int[np.ndarray, " jets"], first: int
) -> tuple[Int[np.ndarray, " rows"], Int[np.ndarray, " copies"]]:
    """Each jet as it is, then without each of its particles: rows of the particles, and counts."""
    rows: list[np.ndarray] = []
    lengths: list[np.ndarray] = []
    for start, count in zip(first + np.cumsum(counts) - counts, counts, strict=True):
        others = np.flatnonzero(~np.eye(count, dtype=bool)) % max(count, 1)
        rows += [start + np.arange(count), start + others]
        lengths += [np.array([count]), np.full(count, count - 1)]
    return np.concatenate(rows), np.concatenate(lengths)
