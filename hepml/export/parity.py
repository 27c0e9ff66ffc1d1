"""Whether an exported network gives what the network in torch gives."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64
from torch import nn

from hepml.export.events import Events

TOLERANCE = 1e-5  # of logits up to 1, and relative to larger ones
_AT_ONCE = 20  # events: all pairs of 128 particles take 0.1 GB per layer of a large transformer
_DRAWS = 32  # of rounding errors, for events that differ by more
_MOST = 0.05  # share of the events that rounding may decide

ToLlr = Callable[[np.ndarray], np.ndarray]
Run = Callable[[dict[str, np.ndarray]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Parity:
    """How far two forms of a network are from each other.

    Attributes:
        events: that were compared.
        difference: the largest between their logits, in units of the larger of 1 and the logit;
            of those events that rounding does not decide.
        rounded: events that rounding decides: the logit of torch itself moves as far when the
            inputs change in their last digits, as where a particle lies on the edge of a pixel.
    """

    events: int
    difference: float
    rounded: int

    @property
    def holds(self) -> bool:
        """Whether the two are the same network."""
        return self.difference <= TOLERANCE and self.rounded <= _MOST * self.events

    def told(self) -> str:
        """One line for people."""
        return (
            f"largest difference {self.difference:.1e} between onnxruntime and torch on "
            f"{self.events} events (allowed: {TOLERANCE:g}); rounding decides {self.rounded} others"
        )


def compare(network: nn.Module, run: Run, to_llr: ToLlr, events: Events) -> Parity:
    """Compare both outputs of a graph with the network as it scores events.

    Args:
        network: in evaluation mode, on the CPU; reads what the code that scores makes for it.
        run: gives the outputs of the graph, logit and log-likelihood ratio.
        to_llr: the ratio that belongs to a logit.
        events: to compare on.
    """
    pieces = [events.take(piece) for piece in _pieces(len(events))]
    expected = np.concatenate([_logits(network, piece) for piece in pieces])
    outputs = zip(*(run(piece.feeds()) for piece in pieces), strict=True)
    logit, llr = (np.concatenate(output).astype(np.float64) for output in outputs)
    scale = np.maximum(1, np.abs(expected))
    found = np.maximum(np.abs(logit - expected), np.abs(llr - to_llr(expected))) / scale
    found = np.where(np.isfinite(found), found, np.inf)
    rounded = _decided_by_rounding(network, events, expected, found * scale)
    return Parity(len(events), float(found[~rounded].max(initial=0)), int(rounded.sum()))


def _pieces(events: int) -> list[Int64[np.ndarray, " piece"]]:
    """Numbers of a few events each; one empty piece of none."""
    return np.array_split(np.arange(events), max(1, -(-events // _AT_ONCE)))


def _decided_by_rounding(
    network: nn.Module,
    events: Events,
    expected: Float64[np.ndarray, " events"],
    difference: Float64[np.ndarray, " events"],
) -> Bool[np.ndarray, " events"]:
    """Events beyond the tolerance that torch itself moves as far by a change in the last digits."""
    doubtful = np.flatnonzero(difference > TOLERANCE * np.maximum(1, np.abs(expected)))
    decided = np.zeros(len(events), bool)
    if doubtful.size and doubtful.size <= 2 * _MOST * len(events):
        random = np.random.default_rng(1)
        again = events.take(np.repeat(doubtful, _DRAWS)).nudged(random)
        moved = _logits(network, again).reshape(-1, _DRAWS) - expected[doubtful, None]
        decided[doubtful] = difference[doubtful] <= np.abs(moved).max(axis=1)
    return decided


@torch.no_grad()
def _logits(network: nn.Module, events: Events) -> Float64[np.ndarray, " events"]:
    return network(*events.arguments()).double().numpy()
