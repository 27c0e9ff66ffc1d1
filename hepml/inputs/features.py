"""How named variables are scaled for a network."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.errors import InputError

Pieces = Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class Standardisation:
    """Shift and scale per feature: (x - mean) / deviation."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def identity(cls, features: int) -> "Standardisation":
        """One that changes nothing."""
        return cls((0.0,) * features, (1.0,) * features)


def fit_standardisation(pieces: Pieces, names: Sequence[str]) -> Standardisation:
    """Weighted mean and standard deviation of each feature.

    |weight| is used: a variance under signed weights can be negative, and any shift and scale
    serves to condition the fit.

    Args:
        pieces: gives the events that are trained on, some at a time, whenever it is called:
            features of shape (events, features) and weights of shape (events,).
        names: of the features, for messages.

    Raises:
        InputError: if a feature does not vary.
    """
    total = sum(np.abs(weight).sum(dtype=np.float64) for _, weight in pieces())
    mean = np.zeros(len(names))
    for x, weight in pieces():
        mean += _share(weight, total) @ x.astype(np.float64)
    variance = np.zeros(len(names))
    for x, weight in pieces():
        variance += _share(weight, total) @ np.square(x.astype(np.float64) - mean)
    deviation = np.sqrt(variance)
    flat = [
        name
        for name, m, d in zip(names, mean, deviation, strict=True)
        if d <= 1e-6 * max(abs(m), 1e-30)
    ]
    if flat:
        raise InputError(f"features {flat} do not vary in the training folds; leave them out")
    return Standardisation(tuple(mean.tolist()), tuple(deviation.tolist()))


def _share(weight: Float[np.ndarray, " events"], total: float) -> Float[np.ndarray, " events"]:
    return np.abs(weight).astype(np.float64) / total
