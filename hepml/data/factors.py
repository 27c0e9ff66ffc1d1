"""Weights of the nominal events under systematics that change weights."""

import numpy as np
from jaxtyping import Bool, Float64

from hepml.data.expressions import Expression
from hepml.data.recipe import Events
from hepml.data.selection import per_event
from hepml.errors import InputError


def varied_weights(
    events: Events, weight: Float64[np.ndarray, " events"], kept: Bool[np.ndarray, " events"]
) -> dict[str, Float64[np.ndarray, " kept"]]:
    """Weights of the events that are kept, times the factors of systematics on weights.

    Raises:
        InputError: if any is NaN, infinite or missing.
    """

    def times(expression: Expression) -> Float64[np.ndarray, " kept"]:
        factor = per_event(expression(events), events.chunk.events, str(expression))[kept]
        broken = np.flatnonzero(~np.isfinite(factor))
        if broken.size:
            entry = events.chunk.start + np.flatnonzero(kept)[broken[0]]
            raise InputError(
                f"{expression}: NaN, infinite or missing in {broken.size} events, the first at "
                f"entry {entry}; mend it, or select them away"
            )
        return weight[kept] * factor

    columns = {}
    for name, (up, down) in events.recipe.factors.items():
        columns[f"weight_{name}_up"] = times(up)
        # one-sided: as far below the nominal weight as up is above
        mirrored = 2 * weight[kept] - columns[f"weight_{name}_up"]
        columns[f"weight_{name}_down"] = times(down) if down else mirrored
    return columns
