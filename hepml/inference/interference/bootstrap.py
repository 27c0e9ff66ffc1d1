"""Errors of the fits from the size of the simulated samples."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Integer

from hepml.inference.bootstrap import repeats
from hepml.inference.interference.fits import Cells, of_bins
from hepml.inference.interference.neyman import lowest, minus_two_ln_l, root_grid
from hepml.inference.interference.samples import Kind, Samples, expected_events, normalised


@dataclass(frozen=True)
class Spread:
    """Standard deviations over the replicas.

    Attributes:
        mu: of the best fit.
        significance: of √t(0).
        constants: by which the two ratios are multiplied; None for bins.
    """

    mu: float
    significance: float
    constants: Float[np.ndarray, "2"] | None = None


def spread_of_events(
    samples: Samples,
    logs: Float[np.ndarray, "3 events"],
    group: Integer[np.ndarray, " events"],
    largest_mu: float,
    drawn: tuple[int, int],
) -> Spread:
    """Of the unbinned fit, whose ratios each replica normalises anew.

    Args:
        samples: all events.
        logs: logarithms of the densities of S, SBI and B at each.
        group: of events of like densities, which share their mean.
        largest_mu: up to which µ is looked at.
        drawn: number of replicas and their seed.
    """
    groups = int(group.max()) + 1
    mean = np.stack([np.bincount(group, row, groups) for row in logs]) / np.bincount(group)
    total = expected_events(samples.kind, samples.weight)
    fits, constants = [], []
    for weight in _replicas(samples, drawn):
        cell = 3 * group + samples.kind
        contents = np.bincount(cell, weight, 3 * groups).reshape(groups, 3).T
        drawn_total = contents.sum(axis=1)
        scaled = mean + np.log(drawn_total / total)[:, None]
        found = normalised(scaled, contents.sum(axis=0), drawn_total)
        fits.append(_fit(Cells(found.terms, contents.sum(axis=0), contents[Kind.SBI]), largest_mu))
        constants.append(found.constants)
    mu, significance = np.std(fits, axis=0, ddof=1)
    return Spread(float(mu), float(significance), np.std(constants, axis=0, ddof=1))


def spread_of_bins(
    samples: Samples,
    bin_: Integer[np.ndarray, " events"],
    bins: int,
    largest_mu: float,
    drawn: tuple[int, int],
) -> Spread:
    """Of the fit to bins, or of a count.

    In Asimov data of its own each replica would find µ = 1: for the error of µ the data are those
    of the sample itself, and what fluctuates is what is expected.
    """
    asimov = of_bins(bin_, bins, samples).asimov
    fits = []
    for weight in _replicas(samples, drawn):
        cells = of_bins(bin_, bins, replace(samples, weight=weight))
        mu, _ = _fit(replace(cells, asimov=asimov), largest_mu)
        fits.append((mu, _fit(cells, largest_mu)[1]))
    mu, significance = np.std(fits, axis=0, ddof=1)
    return Spread(float(mu), float(significance))


def _replicas(samples: Samples, drawn: tuple[int, int]) -> Iterator[Float[np.ndarray, " events"]]:
    """Weights of each replica."""
    each = repeats(samples.event_id, *drawn)
    next(each)  # the sample itself
    for k in each:
        yield k * samples.weight


def _fit(cells: Cells, largest_mu: float) -> tuple[float, float]:
    """Best µ and √t(0)."""
    roots = root_grid(largest_mu)
    values = minus_two_ln_l(cells.asimov[None], cells.terms, cells.yields, roots)
    root, least = lowest(values, roots)
    return float(root[0] ** 2), float(np.sqrt(max(values[0, 0] - least[0], 0.0)))
