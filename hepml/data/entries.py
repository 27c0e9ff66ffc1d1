"""Several entries of one event, such as its jets: they fluctuate together."""

import numpy as np
from jaxtyping import Float, Integer


def sums_of_events(
    values: Float[np.ndarray, " entries"], event: Integer[np.ndarray, " entries"]
) -> Float[np.ndarray, " events"]:
    """Values added up over the entries of each event."""
    identities, number = np.unique(event, return_inverse=True)
    return np.bincount(number, values, len(identities))


def root_sum_square(
    shares: Float[np.ndarray, " entries"], event: Integer[np.ndarray, " entries"] | None
) -> float:
    """Error of Σ shares: √Σ (Σ of an event)²; without ``event`` each entry is an event."""
    if event is not None:
        shares = sums_of_events(shares, event)
    return float(np.sqrt(np.sum(shares**2)))
