"""Named variables of many samples as one table for a network, and how it is scaled."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from hepml.data.store import Columns
from hepml.errors import InputError


def read_features(
    samples: Sequence[Columns], names: Sequence[str]
) -> Float32[np.ndarray, "events features"]:
    """Collect variables from the columns of samples, one column of the table each.

    Args:
        samples: opened columns, kept in this order.
        names: the variables.
    """
    return np.concatenate([np.stack([s[name] for name in names], axis=1) for s in samples])


@dataclass(frozen=True)
class Standardisation:
    """Shift and scale per feature: (x - mean) / deviation."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]


def fit_standardisation(
    features: Float[np.ndarray, "events features"],
    weight: Float[np.ndarray, " events"],
    names: Sequence[str],
) -> Standardisation:
    """Weighted mean and standard deviation of each feature.

    |weight| is used: a variance under signed weights can be negative, and any shift and scale
    serves to condition the fit.

    Args:
        features: of the events that are trained on.
        weight: of the same events.
        names: of the features, for messages.

    Raises:
        InputError: if a feature does not vary.
    """
    share = np.abs(weight) / np.abs(weight).sum()
    x = features.astype(np.float64)
    mean = share @ x
    deviation = np.sqrt(share @ np.square(x - mean))
    flat = [
        name
        for name, m, d in zip(names, mean, deviation, strict=True)
        if d <= 1e-6 * max(abs(m), 1e-30)
    ]
    if flat:
        raise InputError(f"features {flat} do not vary in the training folds; leave them out")
    return Standardisation(tuple(mean.tolist()), tuple(deviation.tolist()))
