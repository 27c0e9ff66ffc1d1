"""What a reader of the numbers should know: the warnings of a method."""

from collections.abc import Mapping, Sequence

import numpy as np

from hepml.config import InferenceJob
from hepml.errors import InputError
from hepml.inference.binned import Fit
from hepml.inference.binning import LARGEST_RELATIVE_ERROR, Binning
from hepml.inference.closure import Closure, departures
from hepml.inference.counting import asimov_significance
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate
from hepml.inference.results import Significance
from hepml.inference.selection import Selection
from hepml.inference.shapes import Shape
from hepml.inference.sources import Systematics
from hepml.inference.workspace import PyhfCheck

FEW_EVENTS = 5.0  # expected background below which the asymptotic formulae are optimistic
LARGEST_LOSS = 0.2  # of Z by the statistics of the simulated background, before it is warned of
LEAST_CHANGE = 0.05  # of the counted background by a systematic, before it is warned of
LARGEST_BIAS = 0.1  # of µ in the unbinned fit before it is warned of
LARGEST_MEAN_ERROR = 0.2  # relative, of the mean ratio of the background, likewise


def of_selection(job: InferenceJob, selection: Selection, significance: Significance) -> list[str]:
    """What a reader of the counting significance should know."""
    said = []
    asked = job.inference.minimum_background
    if selection.minimum_background > asked:
        said.append(
            f"the selection was optimised with {selection.minimum_background} instead of {asked} "
            "raw background events, so that its sum over folds keeps enough"
        )
    counting = significance.counting.value
    with_statistics = significance.counting_with_mc_statistics.value
    if with_statistics < (1 - LARGEST_LOSS) * counting:
        said.append(
            f"more simulated background is needed: with its statistical error Z counting is "
            f"{with_statistics:.2f} instead of {counting:.2f}"
        )
    return said


def of_bins(binning: Binning) -> list[str]:
    """What a reader of the binned significance should know."""
    said = []
    yields = binning.yields
    bins = len(yields.signal)
    if binning.slices and bins < binning.slices:
        said.append(f"{binning.slices} slices were merged to {bins} bins")
    if binning.edges is None and bins == 1:
        said.append(
            "only what passes is fitted: what fails the cuts holds no background (or a negative "
            "sum of weights)"
        )
    relative = np.sqrt(yields.background_variance) / yields.background
    if relative.max() >= LARGEST_RELATIVE_ERROR:
        said.append(f"a bin's background is known to {relative.max():.0%} only")
    square = asimov_significance(yields.signal, yields.background) ** 2
    share = square[yields.background < FEW_EVENTS].sum() / square.sum()
    if share > 0.1:
        said.append(
            f"bins with fewer than {FEW_EVENTS:g} expected background events carry {share:.0%} of "
            "Z², where asymptotic formulae are optimistic; compare with the exact Poisson "
            "significance, or with toys (inference.toys)"
        )
    return said


def of_pyhf(check: PyhfCheck, fitted: Fit) -> list[str]:
    """Whether pyhf confirms the binned significance."""
    if check.agrees:
        return []
    if check.significance is None:
        return ["pyhf's minimisation does not converge, so that it could not confirm Z binned"]
    return [f"pyhf finds Z binned = {check.significance:.4g} instead of {fitted.significance:.4g}"]


def of_closure(job: InferenceJob, closure: Closure | None) -> list[str]:
    """Checks of the likelihood ratio that fail."""
    failed = [] if closure is None else departures(closure)
    if failed and job.inference.gate == "fail":
        raise InputError(
            "\n".join(
                f"inference: {job.method}: {text}; train longer or on more events, or set "
                "inference.gate: warn"
                for text in failed
            )
        )
    return failed


def of_variations(job: InferenceJob, counted: Mapping[str, Estimate], raw: int) -> list[str]:
    """Changes of the counted background that the few events kept do not tell from chance.

    Args:
        job: with its systematics.
        counted: source: relative uncertainty of the background at the working point.
        raw: simulated background events there.
    """
    said = []
    for name, systematic in job.systematics.items():
        found = counted.get(name)
        if found and found.value > LEAST_CHANGE and found.error > found.value / 2:
            said.append(
                f"{systematic.title or name} changes the counted background by {found.value:.0%} ± "
                f"{found.error:.0%}: the {raw} simulated events kept hardly tell it from chance; "
                "simulate more background"
            )
    return said


def of_idle(systematics: Systematics, acting: Sequence[str]) -> list[str]:
    """Sources that change nothing of what is fitted.

    Args:
        systematics: all sources that were asked for.
        acting: names of those that do something.
    """
    return [
        f"{source.title} changes nothing that is fitted; if it should, look at what it varies"
        for source in systematics.sources
        if source.name not in acting
    ]


def of_weights(events: Events) -> list[str]:
    """Shares of negative weights."""
    said = []
    for name, of_class in (("signal", events.signal), ("background", ~events.signal)):
        negative = np.count_nonzero(events.weight[of_class] < 0)
        if negative:
            count = np.count_nonzero(of_class)
            said.append(f"{negative / count:.1%} of the {name} events have negative weights")
    return said


def of_shape(shape: Shape | None) -> list[str]:
    """What a reader of the unbinned significance should know."""
    if shape is None:
        return []
    said = []
    if abs(shape.fit.mu - 1) > LARGEST_BIAS:
        said.append(
            f"the unbinned fit finds µ = {shape.fit.mu:.2f} where it is 1: the score is not a "
            "likelihood ratio to that precision; train on more events, or trust the binned fit"
        )
    mean = shape.mean_ratio
    if mean.error > LARGEST_MEAN_ERROR * mean.value:
        said.append(
            f"few background events carry the unbinned fit: the mean of their likelihood ratio is "
            f"known to {mean.error / mean.value:.0%} only; simulate more background"
        )
    return said
