"""All fits of one method to a signal that interferes."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Integer
from scipy.stats import chi2

from hepml.config import InterferenceJob
from hepml.inference.events import Events
from hepml.inference.goals import LargestSignificance
from hepml.inference.interference.bootstrap import Spread, spread_of_bins, spread_of_events
from hepml.inference.interference.fits import (
    Cells,
    grouped,
    groups_of,
    most_sensitive,
    of_bins,
    of_events,
    quantiles,
    require_events,
)
from hepml.inference.interference.likelihood import InterferenceLikelihood, Terms
from hepml.inference.interference.neyman import LEVELS, Belt, belt, interval
from hepml.inference.interference.results import (
    Estimator,
    InterferenceFit,
    Interfering,
    MuIntervals,
)
from hepml.inference.interference.samples import (
    Densities,
    Kind,
    Samples,
    densities,
    expected_events,
    log_densities,
    shares_of,
)
from hepml.inference.interference.summary import cautions, constants_of, mean_cut, yields_of
from hepml.inference.quantities import Measured
from hepml.inference.selection import passes, select
from hepml.inference.shapes import require_ratio

POINTS = 17  # signal strengths at which toys are drawn
CURVE = 201  # points of a curve of t(µ)


@dataclass(frozen=True)
class Observations:
    """Data events.

    Attributes:
        fold: of each.
        variables: cut variables, or the logarithms of both ratios.
    """

    fold: Integer[np.ndarray, " events"]
    variables: Float[np.ndarray, "variables events"]


@dataclass(frozen=True)
class _Way:
    """One way to estimate µ: its cells, those that toys are drawn from, errors, and data."""

    name: Estimator
    cells: Cells
    toys: Cells
    spread: Spread
    data: InterferenceLikelihood | None


def evaluate(
    job: InterferenceJob,
    samples: Samples,
    variables: Float[np.ndarray, "variables events"],
    data: Observations | None = None,
) -> Interfering:
    """Fit µ by every estimator that a method has.

    Args:
        job: settings; with ``cuts`` for the cut-based selection.
        samples: all simulated events.
        variables: one row per cut; or ln p(x|S)/p(x|B) and ln p(x|SBI)/p(x|B) of every event.
        data: observed events, if they may be looked at.

    Raises:
        InputError: if ratios are no numbers or cannot be normalised, or a fit is not possible.
    """
    learned = None
    if job.cuts:
        ways = [_by_cuts(job, samples, variables, data)]
    else:
        require_ratio(job.method, np.abs(variables))
        learned = densities(variables, samples.kind, samples.weight)
        ways = _by_ratios(job, samples, (variables, learned), data)
    cut_back = mean_cut(learned, samples)
    expected, observed = [], []
    for way in ways:
        toys = _toys(job, way.toys)
        expected.append(_expected_fit(job, way, toys))
        if way.data is not None:
            observed.append(_fit(way, way.data, toys))
    return Interfering(
        method=job.method,
        title=job.title,
        yields=yields_of(samples),
        constants=constants_of(learned, ways[0].spread),
        cut_back=cut_back,
        largest_mu=job.interference.largest_mu,
        toys=job.interference.toys,
        expected=expected,
        observed=observed if data else None,
        warnings=cautions(job, expected[0], cut_back),
    )


def _by_cuts(
    job: InterferenceJob,
    samples: Samples,
    variables: Float[np.ndarray, "cuts events"],
    data: Observations | None,
) -> _Way:
    """Count what passes the cuts of the comparison, which are optimised without interference."""
    settings = job.inference
    goal = LargestSignificance(settings.background_uncertainty, settings.minimum_background)
    compared = ~samples.of(Kind.SBI)
    events = Events(
        samples.event_id[compared],
        samples.fold[compared],
        samples.of(Kind.SIGNAL)[compared],
        samples.weight[compared],
        job.folds,
    )
    bounds = select(job.cuts, variables[:, compared], events, goal).bounds
    bin_ = np.where(passes(variables, samples.fold, bounds), 0, -1)
    seen = None
    if data is not None:
        seen = np.where(passes(data.variables, data.fold, bounds), 0, -1)
    return _binned(job, samples, bin_, 1, seen, "counting")


def _by_ratios(
    job: InterferenceJob,
    samples: Samples,
    given: tuple[Float[np.ndarray, "2 events"], Densities],
    data: Observations | None,
) -> list[_Way]:
    """Every event by itself, bins of the most sensitive observable, and all events counted."""
    llr, learned = given
    settings, cells = job.interference, of_events(learned.terms, samples)
    total = expected_events(samples.kind, samples.weight)
    observable = most_sensitive(learned.terms)
    edges = quantiles(observable, samples, settings.bins)
    bin_ = np.searchsorted(edges, observable, side="right")
    seen, in_bins, counted = None, None, None
    if data is not None:
        logs = log_densities(data.variables, total)
        terms = Terms(*shares_of(logs, np.log(learned.constants))[0])
        number = np.ones(len(data.fold))
        seen = InterferenceLikelihood(terms, cells.yields, number, settings.largest_mu)
        in_bins = np.searchsorted(edges, most_sensitive(terms), side="right")
        counted = 0 * in_bins
    binned = _binned(job, samples, bin_, len(edges) + 1, in_bins, "binned")
    group = groups_of(learned.terms)
    drawn = job.inference.replicas, job.seed
    logs = log_densities(llr, total)
    spread = spread_of_events(samples, logs, group, settings.largest_mu, drawn)
    return [
        _Way("unbinned", cells, grouped(cells, group), spread, seen),
        binned,
        _binned(job, samples, 0 * bin_, 1, counted, "all events"),
    ]


def _binned(
    job: InterferenceJob,
    samples: Samples,
    bin_: Integer[np.ndarray, " events"],
    bins: int,
    data: Integer[np.ndarray, " data"] | None,
    name: Estimator,
) -> _Way:
    """Bins of simulated events and of data; -1 is in none."""
    largest_mu, drawn = job.interference.largest_mu, (job.inference.replicas, job.seed)
    require_events(bin_, bins, samples)
    cells = of_bins(bin_, bins, samples)
    spread = spread_of_bins(samples, bin_, bins, largest_mu, drawn)
    seen = None
    if data is not None:
        seen = cells.likelihood(largest_mu, np.bincount(data[data >= 0], minlength=bins))
    return _Way(name, cells, cells, spread, seen)


def _toys(job: InterferenceJob, cells: Cells) -> Belt | None:
    settings = job.interference
    if not settings.toys:
        return None
    return belt(cells.simulated, settings.largest_mu, POINTS, settings.toys, job.seed)


def _expected_fit(job: InterferenceJob, way: _Way, toys: Belt | None) -> InterferenceFit:
    found = _fit(way, way.cells.likelihood(job.interference.largest_mu), toys)
    return replace(
        found,
        mu=replace(found.mu, error=way.spread.mu),
        significance=replace(found.significance, error=way.spread.significance),
    )


def _fit(way: _Way, likelihood: InterferenceLikelihood, toys: Belt | None) -> InterferenceFit:
    mu = np.linspace(0, likelihood.grid[-1] ** 0.5, CURVE) ** 2
    levels = [
        MuIntervals(
            level,
            list(likelihood.intervals(float(chi2.ppf(level, 1)))),
            None if toys is None else list(interval(likelihood, toys, number)),
        )
        for number, level in enumerate(LEVELS)
    ]
    return InterferenceFit(
        estimator=way.name,
        mu=Measured(likelihood.mu),
        sigma=way.cells.information**-0.5,
        significance=Measured(likelihood.t(0.0) ** 0.5),
        intervals=levels,
        curve=(mu.tolist(), [likelihood.t(float(x)) for x in mu]),
    )
