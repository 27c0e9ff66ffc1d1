"""How much a selection by a score distorts a variable of the background, such as a mass."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.distance import jensenshannon

from hepml.inference.events import Events
from hepml.inference.metrics import Estimate

OUTSIDE = 0.005  # of the background, beyond the edges on either side
FEWEST_BINS, MOST_BINS = 5, 50
PERMUTATIONS = 400
REPLICAS = 200


@dataclass(frozen=True)
class Sculpting:
    """A variable of background that passes, and of background that fails.

    Attributes:
        variable: its name.
        signal_efficiency: of the selection.
        raw_passed: background events that pass.
        divergence: Jensen-Shannon divergence of the two [bits]: 0 if alike, 1 if disjoint.
        expected: mean and spread of the divergence if what passes were drawn at random, which is
            not 0 in finite samples.
        p_value: probability of such a divergence then.
        edges: of the bins; the outermost hold everything beyond.
        passed: share of what passes in each bin.
        passed_error: of it.
        failed: share of what fails.
        failed_error: of it.
    """

    variable: str
    signal_efficiency: float
    raw_passed: int
    divergence: Estimate
    expected: Estimate
    p_value: float
    edges: list[float]
    passed: list[float]
    passed_error: list[float]
    failed: list[float]
    failed_error: list[float]


def sculpting(
    name: str,
    x: Float[np.ndarray, " events"],
    passed: Bool[np.ndarray, " events"],
    events: Events,
    random: np.random.Generator,
) -> Sculpting | None:
    """Compare the background that passes with the background that fails.

    The number of bins follows Rice's rule, 2 n^(1/3), from the smaller of the two. Entries of one
    event are taken as independent.

    Args:
        name: of the variable.
        x: the variable.
        passed: which events a selection keeps.
        events: of all samples.
        random: for permutations and replicas.

    Returns:
        None where fewer than two background events pass, or fail.
    """
    background = events.only(~events.signal)
    kept, values = passed[~events.signal], x[~events.signal]
    fewer = int(min(np.count_nonzero(kept), np.count_nonzero(~kept)))
    edges = _edges(values, int(np.clip(2 * np.cbrt(fewer), FEWEST_BINS, MOST_BINS)))
    if fewer < 2 or len(edges) < 3:
        return None
    cell = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    bins, weight = len(edges) - 1, background.weight
    found = divergence(cell, kept, weight, bins)
    shuffled = [
        divergence(cell, random.permutation(kept), weight, bins) for _ in range(PERMUTATIONS)
    ]
    repeated = [
        divergence(cell, kept, weight * random.poisson(1.0, len(weight)), bins)
        for _ in range(REPLICAS)
    ]
    as_large = np.count_nonzero(np.array(shuffled) >= found)
    passing, failing = (_shares(cell[k], weight[k], bins) for k in (kept, ~kept))
    return Sculpting(
        variable=name,
        signal_efficiency=float(
            events.weight[events.signal & passed].sum() / events.weight[events.signal].sum()
        ),
        raw_passed=int(np.count_nonzero(kept)),
        divergence=Estimate(found, float(np.std(repeated, ddof=1))),
        expected=Estimate(float(np.mean(shuffled)), float(np.std(shuffled, ddof=1))),
        p_value=(1 + as_large) / (1 + PERMUTATIONS),
        edges=edges.tolist(),
        passed=passing[0].tolist(),
        passed_error=passing[1].tolist(),
        failed=failing[0].tolist(),
        failed_error=failing[1].tolist(),
    )


def divergence(
    cell: Int[np.ndarray, " events"],
    passed: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
    bins: int,
) -> float:
    """Jensen-Shannon divergence [bits] of the shares in bins of what passes and what fails.

    ½ Σ p log₂(p/m) + ½ Σ q log₂(q/m) with m = (p + q)/2 (Lin, IEEE Trans. Inf. Theory 37 (1991)
    145). Bins whose weights sum to less than nothing count as empty.
    """
    sums = (np.bincount(cell[k], weight[k], bins) for k in (passed, ~passed))
    p, q = (np.maximum(x, 0) for x in sums)
    if p.sum() == 0 or q.sum() == 0:
        return 1.0  # nothing is common
    return float(jensenshannon(p, q, base=2) ** 2)  # scipy gives the root


def _edges(values: Float[np.ndarray, " events"], bins: int) -> Float[np.ndarray, " edges"]:
    low, high = np.quantile(values, [OUTSIDE, 1 - OUTSIDE])
    return np.unique(np.linspace(low, high, bins + 1))


def _shares(
    cell: Int[np.ndarray, " events"], weight: Float[np.ndarray, " events"], bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Share of the weights in each bin and its error, that of the sum left out."""
    total = weight.sum()
    values, squares = (np.bincount(cell, x, bins) for x in (weight, weight**2))
    return values / total, np.sqrt(squares) / abs(total)
