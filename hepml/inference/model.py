"""What a binned fit expects, for many data sets at once."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

Bins = Float[np.ndarray, "sets bins"]


@dataclass(frozen=True)
class Model:
    """Expected bin contents of many data sets, and what each nuisance parameter does to them.

    Attributes:
        nominal: expected events of each process.
        signal: which processes are signal.
        relative_error: of the simulated background.
        factors: of each process at α = -1 and 1, > 0; 1 where a parameter does not act.
        shifts: of the bin contents of each process at α = -1 and 1, added before factors multiply.
    """

    nominal: Float[np.ndarray, "sets processes bins"]
    signal: Bool[np.ndarray, " processes"]
    relative_error: Bins
    factors: Float[np.ndarray, "2 #sets processes sources"]
    shifts: Float[np.ndarray, "2 #sets processes sources bins"]

    @property
    def sources(self) -> int:
        """How many nuisance parameters there are beside the γ."""
        return int(self.factors.shape[-1])

    @property
    def total_signal(self) -> Bins:
        """Of all processes, at µ = 1."""
        return self.nominal[:, self.signal].sum(axis=1)

    @property
    def total_background(self) -> Bins:
        """Of all processes."""
        return self.nominal[:, ~self.signal].sum(axis=1)

    @property
    def asimov(self) -> Bins:
        """What is expected at µ = 1."""
        return self.total_signal + self.total_background

    def repeated(self, times: int) -> "Model":
        """The first set, so many times."""
        return Model(
            np.repeat(self.nominal[:1], times, axis=0),
            self.signal,
            np.repeat(self.relative_error[:1], times, axis=0),
            self.factors[:, :1],
            self.shifts[:, :1],
        )


def simple_model(
    signal: Bins, background: Bins, relative_error: Bins, uncertainty: float = 0.0
) -> Model:
    """Signal and background, with an uncertain normalisation of the background and no other.

    Args:
        signal: expected events.
        background: expected events, > 0.
        relative_error: of the simulated background.
        uncertainty: relative, of the background normalisation; 0 for none.
    """
    sources, bins = int(uncertainty > 0), signal.shape[1]
    factors = np.ones((2, 1, 2, sources))
    factors[:, 0, 1] = np.array([1 - uncertainty, 1 + uncertainty])[:, None]
    return Model(
        np.stack([signal, background], axis=1),
        np.array([True, False]),
        relative_error,
        factors,
        np.zeros((2, 1, 2, sources, bins)),
    )
