"""What a selection is optimised for. Cuts and networks share goals, constraint and optimiser."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.inference.counting import asimov_significance
from hepml.inference.events import Yields


@dataclass(frozen=True)
class LargestSignificance:
    """Expected counting significance, at σ² = (relative uncertainty · b)² + Σ_B w².

    With the variance of the simulated background, a lucky fluctuation that leaves few events is
    not mistaken for a good selection.

    Attributes:
        background_uncertainty: relative.
        minimum_background: raw background events that must survive.
    """

    background_uncertainty: float
    minimum_background: int

    def __call__(self, yields: Yields) -> Float[np.ndarray, "*selections"]:
        """Z of each selection."""
        allowed = (
            (yields.raw_background >= self.minimum_background)
            & (yields.background > 0)
            & (yields.signal > 0)
        )
        s, b = yields.signal[allowed], yields.background[allowed]
        sigma = np.hypot(
            self.background_uncertainty * b, np.sqrt(yields.background_variance[allowed])
        )
        merit = np.full(allowed.shape, -np.inf)
        merit[allowed] = asimov_significance(s, b, sigma)
        return merit


@dataclass(frozen=True)
class LeastBackground:
    """As little background as possible at no less than some signal yield.

    Attributes:
        signal: expected signal events that must survive.
        minimum_background: raw background events that must survive.
    """

    signal: float
    minimum_background: int

    def __call__(self, yields: Yields) -> Float[np.ndarray, "*selections"]:
        """Minus the background of each selection."""
        allowed = (
            (yields.raw_background >= self.minimum_background)
            & (yields.background > 0)
            & (yields.signal >= self.signal)
        )
        return np.where(allowed, -yields.background, -np.inf)


Goal = LargestSignificance | LeastBackground  # the larger the better; -inf if constraint broken
