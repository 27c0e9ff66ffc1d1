"""Which bin of the fit an event falls into: simulated, varied, or of the data."""

import numpy as np
from jaxtyping import Int

from hepml.inference.binning import Binning, slice_of_score
from hepml.inference.blinding import DataEvents, Placing
from hepml.inference.selection import Selection, passes


def placing(binning: Binning, selection: Selection) -> Placing:
    """Where events fall by their score, or by whether they pass the cuts.

    Edges and cut values of an event are those of its fold, chosen on nominal events.
    """
    if binning.edges is not None:
        inner = binning.edges[:, 1:-1]
        return lambda events: slice_of_score(events.variables[0], events.fold, inner)
    # what fails is in no bin where it makes none of its own
    return working_point(selection) if len(binning.yields.signal) == 1 else _passed(selection)


def working_point(selection: Selection) -> Placing:
    """Bin 0 for what passes the selection; 1 for what does not."""
    passed = _passed(selection)
    return lambda events: 1 - passed(events)


def _passed(selection: Selection) -> Placing:
    def place(events: DataEvents) -> Int[np.ndarray, " events"]:
        return passes(events.variables, events.fold, selection.bounds).astype(np.int64)

    return place
