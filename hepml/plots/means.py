"""Weighted means with their errors, taken batch by batch."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Mean:
    """A mean and its standard error, of any shape; NaN where it is not defined."""

    value: np.ndarray
    error: np.ndarray


Values = Float[np.ndarray, " batch *shape"]
Weights = Float[np.ndarray, " batch"]


def weighted_mean(batches: Iterable[tuple[Values, Weights]]) -> Mean:
    """Mean Σwx/Σw and its error √Σw²(x - mean)²/|Σw|, in memory that does not grow.

    The error is that of independent events; with equal weights it is the standard deviation
    over √n.

    Args:
        batches: values of some events, and the weight of each, of any sign.

    Raises:
        ValueError: if the weights sum up to 0.
    """
    total, squares = 0.0, 0.0  # Σw, Σw²
    sums, first, second = np.zeros(()), np.zeros(()), np.zeros(())  # Σwx, Σw²x, Σw²x²
    for x, weight in batches:
        x = x.astype(np.float64)
        sums = sums + np.tensordot(weight, x, axes=1)
        first = first + np.tensordot(weight**2, x, axes=1)
        second = second + np.tensordot(weight**2, x**2, axes=1)
        total += weight.sum()
        squares += (weight**2).sum()
    if total == 0:
        raise ValueError("weighted_mean: the weights sum up to 0")
    mean = sums / total
    variance = second - 2 * mean * first + mean**2 * squares
    error = np.sqrt(np.maximum(variance, 0)) / abs(total)
    return Mean(np.asarray(mean), np.asarray(error))
