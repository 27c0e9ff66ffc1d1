"""Between the variations that were simulated: HistFactory's interpolations, with derivatives.

A nuisance parameter α is 1 where a variation is up, -1 where it is down, 0 where it is nominal.
Factors follow HistFactory's ``code4``, shifts of bin contents its ``code4p`` (what pyhf calls the
default of ``normsys`` and of ``histosys``; K. Cranmer et al., CERN-OPEN-2012-016).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LARGEST_EXPONENT = 600.0  # of a factor, which then is a number


@dataclass(frozen=True)
class Curve:
    """A function of α: its values, and its first and second derivative."""

    value: Float[np.ndarray, "..."]
    slope: Float[np.ndarray, "..."]
    curvature: Float[np.ndarray, "..."]


def _joining() -> Float[np.ndarray, "6 6"]:
    """From value - 1, first and second derivative at ±1 to the coefficients of α … α⁶."""
    powers = np.arange(1, 7)
    rows = [
        row
        for x in (1.0, -1.0)
        for row in (x**powers, powers * x ** (powers - 1), powers * (powers - 1) * x**powers)
    ]
    return np.linalg.inv(np.array(rows))


_JOINING = _joining()


class Factors:
    """code4: factors given at α = ±1.

    Exponential outside |α| < 1, inside the polynomial of sixth order that joins it with continuous
    first and second derivatives.

    Args:
        down: factors > 0 at α = -1, of any shape that ends with one axis over the parameters.
        up: at α = 1, likewise.
    """

    def __init__(self, down: Float[np.ndarray, "*shape"], up: Float[np.ndarray, "*shape"]) -> None:
        self._log_up, self._log_down = np.log(up), np.log(down)
        slopes = [up * self._log_up, -down * self._log_down]
        curvatures = [up * self._log_up**2, down * self._log_down**2]
        ends = [up - 1, slopes[0], curvatures[0], down - 1, slopes[1], curvatures[1]]
        self._inside = np.tensordot(_JOINING, np.stack(ends), 1)  # coefficient of α^(i + 1)

    def __call__(self, alpha: Float[np.ndarray, "*alphas"]) -> Curve:
        """At α, which broadcasts against the shape of the factors."""
        log = np.where(alpha > 0, self._log_up, -self._log_down)
        # far outside, what is no number there is taken by the other branch of np.where
        x, far = np.clip(alpha, -1, 1), np.exp(np.minimum(alpha * log, LARGEST_EXPONENT))
        near = slope = bend = np.zeros_like(x * self._log_up)
        for coefficient in (*self._inside[::-1], 1.0):  # Horner's rule, with derivatives
            bend = bend * x + slope
            slope = slope * x + near
            near = near * x + coefficient
        inside = np.abs(alpha) < 1
        return Curve(
            np.where(inside, near, far),
            np.where(inside, slope, far * log),
            np.where(inside, 2 * bend, far * log**2),
        )


class Shifts:
    """code4p: shifts given at α = ±1.

    Linear outside |α| < 1, inside a polynomial of sixth order that joins it.

    Args:
        down: what is added at α = -1, of any shape whose last axis but one is over the parameters.
        up: at α = 1, likewise.
    """

    def __init__(self, down: Float[np.ndarray, "*shape"], up: Float[np.ndarray, "*shape"]) -> None:
        self._up, self._down = up, down
        self._half, self._bend = (up - down) / 2, (up + down) / 16

    def __call__(self, alpha: Float[np.ndarray, "*alphas"]) -> Curve:
        """At α, which broadcasts against the shape of the shifts."""
        a, b, x = self._half, self._bend, np.clip(alpha, -1, 1)
        inside = np.abs(alpha) < 1
        far = np.where(alpha > 0, self._up, -self._down)
        square = x**2
        near = x * (a + x * b * (15 + square * (3 * square - 10)))
        slope = a + x * b * (30 + square * (18 * square - 40))
        curvature = b * (30 + square * (90 * square - 120))
        return Curve(
            np.where(inside, near, alpha * far),
            np.where(inside, slope, far),
            np.where(inside, curvature, 0.0),
        )
