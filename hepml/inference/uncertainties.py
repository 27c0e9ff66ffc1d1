"""What sources of uncertainty do to one method: to the bins it fits, and to what it counts."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hepml.inference.binning import Binning
from hepml.inference.bootstrap import draw_replicas
from hepml.inference.impacts import rank_binned, rank_unbinned
from hepml.inference.model import Model
from hepml.inference.placing import placing, working_point
from hepml.inference.results import Nuisances
from hepml.inference.selection import Selection
from hepml.inference.shapes import Shape
from hepml.inference.sources import (
    Copy,
    Systematics,
)
from hepml.inference.templates import Templates, model_of, process_cells, templates


@dataclass(frozen=True)
class Uncertain:
    """One method's templates, and its relative uncertainties of the background that it counts.

    Attributes:
        nominal: all events.
        systematics: all processes and sources, the normalisation of the background first.
        templates: of the bins that are fitted.
        bins: how many those are.
        counted: source: relative uncertainty of the background at the working point.
    """

    nominal: Copy
    systematics: Systematics
    templates: Templates
    bins: int
    counted: Mapping[str, float]

    @property
    def counting(self) -> float:
        """Relative uncertainty of the background at the working point, from all sources."""
        return float(np.hypot.reduce([*self.counted.values(), 0.0]))


def uncertain(
    nominal: Copy, systematics: Systematics, selection: Selection, binning: Binning
) -> Uncertain:
    """Fill all templates of one method.

    Args:
        nominal: all events.
        systematics: processes, and all sources.
        selection: chosen on nominal events alone.
        binning: likewise.

    Raises:
        InputError: if a variation leaves a bin without background, or negative.
    """
    bins, given = len(binning.yields.signal), (systematics.processes, systematics.sources)
    fitted = templates(bins, nominal, placing(binning, selection), *given)
    counted = templates(1, nominal, working_point(selection), *given)
    relative = {name: _relative(counted, name) for name in counted.sources}
    return Uncertain(nominal, systematics, fitted, bins, relative)


def _relative(made: Templates, source: str) -> float:
    """Root mean square of what a source does to the background, down and up."""
    change = np.zeros(2)
    for process in made.processes:
        if not process.signal and source in process.effects:
            effect = process.effects[source]
            shift = 0.0 if effect.shifts is None else effect.shifts[:, 0]
            change += np.array(effect.factors) * (process.nominal[0] + shift) - process.nominal[0]
    return float(np.sqrt(np.mean(change**2)) / made.contents(signal=False)[0])


def replica_model(uncertain: Uncertain, binning: Binning, replicas: int, seed: int) -> Model:
    """Bootstrap replicas of the templates; the first is the sample itself.

    A replica that leaves a bin without background, or negative, is as the sample: with ten raw
    events that happens once in 20,000 bins.
    """
    processes, bins = uncertain.systematics.processes, uncertain.bins
    number = len(processes.names)
    cell = process_cells(binning.bin_of_event, uncertain.nominal.process, bins)
    drawn = draw_replicas(uncertain.nominal.events, cell, number * (bins + 1), replicas, seed)

    def per_process(cells: np.ndarray) -> np.ndarray:
        return cells.reshape(len(cells), number, bins + 1)[:, :, :bins]

    contents = per_process(drawn.signal + drawn.background)
    variance = per_process(drawn.background_variance).sum(axis=1)
    signal, background = (
        contents[:, chosen].sum(axis=1) for chosen in (processes.signal, ~processes.signal)
    )
    broken = (background <= 0) | (signal < 0)
    return model_of(
        uncertain.templates,
        np.where(broken[:, None], contents[:1], contents),
        np.where(broken, variance[:1], variance),
    )


def nuisances_of(uncertain: Uncertain, shape: Shape | None) -> Nuisances:
    """Impacts and costs of all sources in the fits of one method.

    Args:
        uncertain: with the templates.
        shape: of the unbinned fit; None for cuts.
    """
    titles = {source.name: source.title for source in uncertain.systematics.sources}
    acting = {name: titles[name] for name in uncertain.templates.sources}
    return Nuisances(
        dict(uncertain.counted),
        rank_binned(model_of(uncertain.templates), acting),
        rank_unbinned(shape.sliced, shape.sources, titles) if shape else None,
    )
