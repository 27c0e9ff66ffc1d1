"""The unbinned fit of a signal that interferes with the background.

The expected density of events is λ(µ) = µS + √µ I + B. The interference I may be negative, so that
no sample can be drawn from it; with SBI = S + I + B, signal and background simulated together, it
is made of three positive samples (the basis of arXiv:2412.01548):

    λ(µ) = (µ - √µ) S + √µ SBI + (1 - √µ) B

Any term may be negative for an event, the sum may not.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped
from scipy.optimize import brentq, minimize_scalar

from hepml.errors import InputError

POINTS = 400  # of the grid in √µ on which minima and crossings are looked for


@dataclass(frozen=True)
class Terms:
    """A value for each of the samples S, SBI and B: densities of events over a common reference.

    Attributes:
        signal: expected events times density of S, over the reference density.
        total: of SBI.
        background: of B.
    """

    signal: Float[np.ndarray, " events"]
    total: Float[np.ndarray, " events"]
    background: Float[np.ndarray, " events"]

    def at(self, mu: float) -> Float[np.ndarray, " events"]:
        """λ(µ)."""
        root = np.sqrt(mu)
        return (mu - root) * self.signal + root * self.total + (1 - root) * self.background


class InterferenceLikelihood:
    """-2 ln L(µ) of weighted events.

    Args:
        events: λ of each event.
        yields: expected numbers of events of S, SBI and B, one value each.
        number: weight of each event: 1 for data, what is expected for Asimov data.
        largest_mu: up to which µ is looked at.

    Raises:
        InputError: if λ is not positive for an event at some µ up to the largest.
    """

    def __init__(
        self,
        events: Terms,
        yields: Terms,
        number: Shaped[np.ndarray, " events"],
        largest_mu: float,
    ) -> None:
        self.events, self.yields, self.number = events, yields, number
        self.grid = np.linspace(0, np.sqrt(largest_mu), POINTS + 1) ** 2
        check_positive(events, largest_mu)
        values = [self.minus_two_ln_l(mu) for mu in self.grid]
        best = int(np.argmin(values))
        around = self.grid[[max(best - 1, 0), min(best + 1, POINTS)]]
        # in √µ, in which the minimum is a parabola
        found = minimize_scalar(
            lambda root: self.minus_two_ln_l(root**2),
            bounds=tuple(np.sqrt(around)),
            method="bounded",
            options={"xatol": 1e-9},
        )
        at_grid = values[best] <= found.fun
        self.mu = float(self.grid[best] if at_grid else found.x**2)
        self._least = float(min(values[best], found.fun))
        self._t = np.maximum(np.array(values) - self._least, 0.0)

    def minus_two_ln_l(self, mu: float) -> float:
        """But for a constant."""
        expected = float(self.yields.at(mu)[0])
        return 2 * (expected - float(self.number @ np.log(self.events.at(mu))))

    def t(self, mu: float) -> float:
        """-2 ln L of µ over that of the best fit."""
        return max(self.minus_two_ln_l(mu) - self._least, 0.0)

    def intervals(self, level: float = 1.0) -> tuple[tuple[float, float], ...]:
        """Where t(µ) < level, from low to high; they end where the largest µ is.

        A level of 1 is 68 % where Wilks' theorem holds, which it does not near µ = 0: see
        :mod:`hepml.inference.interference.neyman`.
        """
        where = np.searchsorted(self.grid, self.mu)
        grid, t = np.insert(self.grid, where, self.mu), np.insert(self._t, where, 0.0)
        inside = t < level
        return tuple(
            (self._edge(grid, first, -1, level), self._edge(grid, last, 1, level))
            for first, last in runs(inside)
        )

    def _edge(
        self, grid: Float[np.ndarray, " points"], inner: int, side: int, level: float
    ) -> float:
        outer = inner + side
        if not 0 <= outer < len(grid):
            return float(grid[inner])
        ends = sorted((grid[inner], grid[outer]))
        return float(brentq(lambda mu: self.t(mu) - level, *ends, xtol=1e-12))


def check_positive(events: Terms, largest_mu: float) -> None:
    """Refuse events whose density is not positive at some µ between 0 and the largest.

    λ is a parabola in √µ, so that its least value is at an end or at the vertex.

    Raises:
        InputError: naming how many events, one of them, and µ.
    """
    bend = events.signal
    slope = events.total - events.signal - events.background
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = np.where(bend > 0, -slope / (2 * bend), 0.0)
    root = np.clip(vertex, 0, np.sqrt(largest_mu))
    # a straight line or a parabola bent down is least at an end
    ends = np.stack([root, np.zeros_like(root), np.full_like(root, np.sqrt(largest_mu))])
    values = bend * ends**2 + slope * ends + events.background
    least = values.min(axis=0)
    broken = np.flatnonzero(~(least > 0))
    if broken.size:
        event = int(broken[0])
        mu = float(ends[values[:, event].argmin(), event] ** 2)
        raise InputError(
            f"interference: {broken.size} of {len(least)} events have no positive density "
            "(µ - √µ) S + √µ SBI + (1 - √µ) B; "
            f"event {event} has {least[event]:.4g} at µ = {mu:.4g}. The ratios of S, SBI and B do "
            "not fit together: train longer, calibrate them, or look at smaller µ"
        )


def runs(inside: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of each run of True."""
    steps = np.diff(np.concatenate([[0], inside.astype(np.int8), [0]]))
    first, after = np.flatnonzero(steps > 0).tolist(), np.flatnonzero(steps < 0).tolist()
    return [(one, end - 1) for one, end in zip(first, after, strict=True)]
