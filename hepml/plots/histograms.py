"""Weighted histograms and what is derived from them, with Monte Carlo errors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Events = Float[np.ndarray, " events"]
Bins = Float[np.ndarray, " bins"]
Edges = Float[np.ndarray, " edges"]


@dataclass(frozen=True)
class Histogram:
    """A value and an error per bin; ``edges`` has one entry more."""

    edges: np.ndarray
    values: np.ndarray
    errors: np.ndarray


@dataclass(frozen=True)
class Ratio:
    """A quotient per bin with its error; NaN where it is not defined."""

    values: np.ndarray
    errors: np.ndarray


def weighted_histogram(x: Events, weight: Events, edges: Edges) -> Histogram:
    """Sum of weights per bin, with error √Σw².

    Events beyond the outermost edges count in the first and the last bin.
    """
    inside = np.clip(x, edges[0], edges[-1])
    values, _ = np.histogram(inside, edges, weights=weight)
    variances, _ = np.histogram(inside, edges, weights=np.square(weight))
    return Histogram(np.asarray(edges), values, np.sqrt(variances))


def unit_area(histogram: Histogram) -> Histogram:
    """The histogram as a density: its integral over all bins is 1.

    Raises:
        ValueError: if the sum of weights is not positive.
    """
    total = float(histogram.values.sum())
    if total <= 0:
        raise ValueError(
            f"unit_area: the sum of weights must be positive to normalise, but it is {total:g}"
        )
    scale = 1 / (total * np.diff(histogram.edges))
    return Histogram(histogram.edges, histogram.values * scale, histogram.errors * scale)


def ratio(numerator: Histogram, denominator: Histogram) -> Ratio:
    """Quotient of two independent histograms, errors propagated to first order."""
    defined = (denominator.values > 0) & (numerator.values > 0)
    below = np.where(defined, denominator.values, np.nan)
    quotient = numerator.values / below
    relative = np.hypot(
        numerator.errors / np.where(defined, numerator.values, np.nan), denominator.errors / below
    )
    return Ratio(quotient, quotient * relative)


def ks_distance(x: Events, y: Events, weight: Events) -> float:
    """Kolmogorov-Smirnov distance between two quantities of the same weighted events.

    The largest difference of their cumulative distributions. With negative weights these need
    not be monotonous; the definition stays.

    Args:
        x: one quantity.
        y: the other, of the same events.
        weight: of each event; the sum must not be 0.

    Returns:
        Between 0 and 1 for positive weights. No p-value: the same events are on both sides, so
        the textbook distribution of this distance does not apply.
    """
    total = weight.sum()
    values = np.concatenate([x, y])
    steps = np.concatenate([weight, -weight]) / total
    order = np.argsort(values, kind="stable")
    difference = np.cumsum(steps[order])
    last_of_ties = np.append(np.diff(values[order]) > 0, True)
    return float(np.abs(difference[last_of_ties]).max())


def common_edges(
    samples: tuple[Float[np.ndarray, " _"], ...], outside: float
) -> Float[np.ndarray, " edges"]:
    """Bin edges that show all samples but their outermost events.

    The number of bins follows Rice's rule, 2 n^(1/3) with the smallest n, within 10 and 40. If
    all values are whole numbers, each bin holds equally many of them.

    Args:
        samples: the same quantity of several classes; none is empty.
        outside: fraction of each sample that may lie beyond the edges, on either side.
    """
    low = min(float(np.quantile(sample, outside)) for sample in samples)
    high = max(float(np.quantile(sample, 1 - outside)) for sample in samples)
    bins = int(np.clip(2 * np.cbrt(min(len(sample) for sample in samples)), 10, 40))
    if all(bool((sample == np.rint(sample)).all()) for sample in samples):
        low, high = np.floor(low), np.ceil(high)
        width = np.ceil((high - low + 1) / bins)
        return low - 0.5 + width * np.arange(np.ceil((high - low + 1) / width) + 1)
    if high <= low:
        return np.linspace(low - 0.5, low + 0.5, bins + 1)
    return np.linspace(low, high, bins + 1)


def visible_range(values: np.ndarray, smallest: float = 0.0) -> tuple[float, float]:
    """Lowest and highest positive finite value, for a logarithmic axis; (0.1, 1) if none.

    Args:
        values: any shape.
        smallest: values at or below are left out.
    """
    positive = values[np.isfinite(values) & (values > smallest)]
    if not positive.size:
        return 0.1, 1.0
    return float(positive.min()), float(positive.max())
