"""Selections and the cut-flow they leave."""

from collections.abc import Sequence
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float, Float64

from hepml.data.expressions import Expression
from hepml.data.recipe import Events
from hepml.errors import InputError


class CutFlow:
    """Events, weights and squared weights that are left after each step.

    Args:
        steps: names of the steps, the first being all events.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self.steps = tuple(steps)
        self.raw = np.zeros(len(steps), np.int64)
        self.sum_w = np.zeros(len(steps))
        self.sum_w2 = np.zeros(len(steps))
        self.terms: list[tuple[int, int, float, float]] = []

    def add(self, step: int, weight: Float[np.ndarray, " left"]) -> None:
        """Count the events of a chunk that are left after a step."""
        self.add_sums(step, len(weight), float(weight.sum()), float(np.square(weight).sum()))

    def add_sums(self, step: int, raw: int, sum_w: float, sum_w2: float) -> None:
        """Count events whose weights are summed up already: one of the ``terms``."""
        self.terms.append((step, raw, sum_w, sum_w2))
        self.raw[step] += raw
        self.sum_w[step] += sum_w
        self.sum_w2[step] += sum_w2

    def table(self, factor: float) -> list[dict[str, Any]]:
        """One row per step: raw events, yield and its error, efficiency against all events.

        Args:
            factor: from generator weight to expected events.
        """
        first = self.sum_w[0] or 1.0
        return [
            {
                "step": name,
                "raw": int(self.raw[i]),
                "yield": float(factor * self.sum_w[i]),
                "error": float(abs(factor) * np.sqrt(self.sum_w2[i])),
                "efficiency": float(self.sum_w[i] / first),
            }
            for i, name in enumerate(self.steps)
        ]

    def text(self) -> str:
        """The cut-flow in one line, for messages."""
        return " → ".join(f"{name}: {n}" for name, n in zip(self.steps, self.raw, strict=True))


def passes(expression: Expression, events: Events) -> Bool[np.ndarray, " events"]:
    """Which events pass; a missing value, such as ``pt[0]`` of an event without jets, does not.

    Args:
        expression: true or not zero for what is kept.
        events: arrays by name.

    Raises:
        InputError: if it gives several values per event.
    """
    values = per_event(expression(events), events.chunk.events, str(expression))
    return (values != 0) & ~np.isnan(values)


def per_event(value: Any, number: int, what: str) -> Float64[np.ndarray, " events"]:  # noqa: ANN401
    """One number per event from the value of an expression; NaN where it is missing.

    Args:
        value: awkward array or scalar.
        number: of events.
        what: the expression, for messages.

    Raises:
        InputError: if it has several values per event.
    """
    if not isinstance(value, ak.Array):
        return np.full(number, value, np.float64)
    if value.ndim > 1:
        raise InputError(
            f"{what}: several values per event; reduce it with sum(), max(), any() or pick one "
            "with [0]"
        )
    return np.ma.filled(ak.to_numpy(value).astype(np.float64), np.nan)
