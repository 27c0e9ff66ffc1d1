"""Named variables of many samples as one table for a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Float64, Int8

from hepml.data.store import Columns
from hepml.errors import InputError


@dataclass(frozen=True)
class Table:
    """Events of several samples, one after another."""

    features: Float32[np.ndarray, "events features"]
    label: Int8[np.ndarray, " events"]
    weight: Float64[np.ndarray, " events"]
    fold: Int8[np.ndarray, " events"]

    def where(self, keep: np.ndarray) -> "Table":
        """Events for which ``keep`` is true."""
        return Table(self.features[keep], self.label[keep], self.weight[keep], self.fold[keep])


def read_features(samples: Sequence[Columns], names: Sequence[str]) -> Table:
    """Collect variables from the columns of samples.

    Args:
        samples: opened columns, kept in this order.
        names: the variables, one column of the table each.
    """
    return Table(
        features=np.concatenate([_stack(sample, names) for sample in samples]),
        label=np.concatenate([sample["label"] for sample in samples]),
        weight=np.concatenate([sample["weight"] for sample in samples]),
        fold=np.concatenate([sample["fold"] for sample in samples]),
    )


def _stack(sample: Columns, names: Sequence[str]) -> Float32[np.ndarray, "events features"]:
    return np.stack([sample[name] for name in names], axis=1)


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
