"""Closure of a ratio variable by variable: the reweighted mixture over signal."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import expit
from scipy.stats import chi2

from hepml.inference.events import Events

BINS = 20  # of about equal numbers of events
OUTSIDE = 0.002  # of the events on either side, which are in the outermost bins


@dataclass(frozen=True)
class Reweighted:
    """One variable of signal, background, and the mixture of both reweighted to signal.

    Attributes:
        variable: its name.
        edges: of the bins; the outermost hold everything beyond.
        signal: share of signal in each bin.
        signal_error: of it.
        background: share of background.
        reweighted: of the mixture M = (S + B)/2, each event with the weight 2r/(1 + r).
        ratio: reweighted over signal; None where there is no signal.
        error: of the ratio; what both sides have in common is not in it.
        chi2: Σ((ratio - 1)/error)² over bins.
        bins: how many have a ratio.
        p_value: probability of such a χ² for the exact ratio.
    """

    variable: str
    edges: list[float]
    signal: list[float]
    signal_error: list[float]
    background: list[float]
    reweighted: list[float]
    ratio: list[float | None]
    error: list[float | None]
    chi2: float
    bins: int
    p_value: float


def reweighted(
    name: str, x: Float[np.ndarray, " events"], llr: Float[np.ndarray, " events"], events: Events
) -> Reweighted:
    """Histogram one variable before and after reweighting.

    With a and b the weights of both classes normalised to 1 and p = r/(1 + r), the reweighted
    mixture holds Σ_S a p + Σ_B b p where signal holds Σ_S a. Their difference,
    Σ_B b p - Σ_S a (1 - p), has the variance Σ (Σ of an event)², and signal which is on both sides
    counts in it with 1 - p only.

    Args:
        name: of the variable.
        x: the variable.
        llr: logarithm of the ratio.
        events: of all samples.
    """
    edges = _edges(x)
    bins = len(edges) - 1
    cell = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, bins - 1)
    p, of_signal = expit(llr), events.signal
    totals = np.where(of_signal, events.weight[of_signal].sum(), events.weight[~of_signal].sum())
    share = events.weight / totals
    signal, background, both = (
        np.bincount(cell, w, bins)
        for w in (np.where(of_signal, share, 0), np.where(of_signal, 0, share), share * p)
    )
    difference = share * np.where(of_signal, p - 1, p)
    error = _errors(cell, difference, events, bins)
    known = (signal > 0) & (error > 0)
    below = np.where(known, signal, np.nan)
    square = float(np.sum(((both - signal)[known] / error[known]) ** 2))
    return Reweighted(
        variable=name,
        edges=edges.tolist(),
        signal=signal.tolist(),
        signal_error=_errors(cell, np.where(of_signal, share, 0), events, bins).tolist(),
        background=background.tolist(),
        reweighted=both.tolist(),
        ratio=_numbers(both / below),
        error=_numbers(error / below),
        chi2=square,
        bins=int(np.count_nonzero(known)),
        p_value=float(chi2.sf(square, max(np.count_nonzero(known), 1))),
    )


def _edges(x: Float[np.ndarray, " events"]) -> Float[np.ndarray, " edges"]:
    """Equally wide bins; whole numbers are not split between two unevenly."""
    low, high = np.quantile(x, [OUTSIDE, 1 - OUTSIDE])
    if np.array_equal(x, np.rint(x)):
        width = max(np.ceil((high - low + 1) / BINS), 1)
        return low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1)
    if high <= low:
        return np.array([low - 0.5, low + 0.5])
    return np.linspace(low, high, BINS + 1)


def _errors(
    cell: np.ndarray, shares: Float[np.ndarray, " events"], events: Events, bins: int
) -> Float[np.ndarray, " bins"]:
    """√Σ (Σ of the entries of an event in a bin)² of each bin."""
    _, event = np.unique(events.event_id, return_inverse=True)
    pairs, number = np.unique(event * bins + cell, return_inverse=True)
    of_event = np.bincount(number, shares, len(pairs))
    return np.sqrt(np.bincount(pairs % bins, of_event**2, bins))


def _numbers(values: Float[np.ndarray, " bins"]) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
