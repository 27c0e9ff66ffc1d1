"""What sources of uncertainty do to one method: to the bins it fits, and to what it counts."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from hepml.errors import InputError
from hepml.inference.binning import Binning
from hepml.inference.bootstrap import ROUNDING, estimate
from hepml.inference.impacts import rank_binned, rank_unbinned
from hepml.inference.metrics import Estimate
from hepml.inference.model import Model
from hepml.inference.placing import placing, working_point
from hepml.inference.repeated import Repeated, repeat
from hepml.inference.results import Nuisances
from hepml.inference.selection import Selection
from hepml.inference.shapes import Shape
from hepml.inference.sources import Copy, Systematics
from hepml.inference.templates import Templates, model_of, templates

LEAST_EFFECTIVE = 10  # background events of equal weight, below which no number is quoted


@dataclass(frozen=True)
class Uncertain:
    """One method's templates, and bootstrap replicas of what it fits and what it counts.

    Attributes:
        systematics: all processes and sources, the normalisation of the background first.
        templates: of the bins that are fitted.
        passed: of the working point, one bin.
        fitted: replicas of the bins that are fitted.
        counted: replicas of the working point.
    """

    systematics: Systematics
    templates: Templates
    passed: Templates
    fitted: Repeated
    counted: Repeated

    @property
    def replica_model(self) -> Model:
        """Of the bins in all replicas; the first is the sample itself."""
        return self.fitted.model(self.templates)

    @cached_property
    def counting(self) -> Float[np.ndarray, " replicas"]:
        """Relative uncertainty of the background at the working point, from all sources."""
        changes = [self.counted.changes(name)[:, 0] for name in self.passed.sources]
        return np.sqrt(np.sum(np.square(changes), axis=0)) + np.zeros(len(self.counted.contents))

    def changes(self) -> dict[str, Estimate]:
        """Source: relative uncertainty of the background at the working point."""
        return {name: estimate(self.counted.changes(name)[:, 0]) for name in self.passed.sources}


def uncertain(
    nominal: Copy,
    systematics: Systematics,
    selection: Selection,
    binning: Binning,
    drawn: tuple[int, int],
) -> Uncertain:
    """Fill all templates of one method.

    Args:
        nominal: all events.
        systematics: processes, and all sources.
        selection: chosen on nominal events alone.
        binning: likewise.
        drawn: number of bootstrap replicas and their seed.

    Raises:
        InputError: if a variation leaves a bin without background, or negative.
    """
    fitted, counted = (
        repeat(bins, nominal, place, systematics, drawn)
        for bins, place in (
            (len(binning.yields.signal), placing(binning, selection)),
            (1, working_point(selection)),
        )
    )
    of_bins, passed = (templates(filled.sample, systematics) for filled in (fitted, counted))
    return Uncertain(systematics, of_bins, passed, fitted, counted)


def require_events(uncertain: Uncertain, minimum: int) -> None:
    """Refuse to quote numbers of a background that too few events make up.

    Where weights differ, or some are negative, many raw events may be worth few: (Σw)²/Σw².

    Args:
        uncertain: with what is fitted and counted.
        minimum: raw events that were asked for; fewer than ten are then enough.

    Raises:
        InputError: naming what holds too few, and the mend.
    """
    least = min(LEAST_EFFECTIVE, minimum) * (1 - ROUNDING)
    for what, repeated in (("bin {} of the fit", uncertain.fitted), ("count", uncertain.counted)):
        worst = int(np.argmin(repeated.effective))
        found = repeated.effective[worst]
        if found < least:
            raise InputError(
                f"inference: the background of {what.format(worst)} is worth {found:.1f} events of "
                f"equal weight, and {min(LEAST_EFFECTIVE, minimum)} are needed; raise "
                f"inference.minimum_background above {minimum}, so that more are kept, or simulate "
                "more background"
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
        uncertain.changes(),
        rank_binned(model_of(uncertain.templates), acting),
        rank_unbinned(shape.sliced, shape.sources, titles) if shape else None,
    )
