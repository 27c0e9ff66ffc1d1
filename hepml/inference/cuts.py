"""The best rectangular selection: any number of one-sided cuts and windows.

All intervals are half open, low ≤ x < high, with infinite open ends. A network's threshold is
the case of one cut on its score, so that networks and cuts are optimised by the same code.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Int

from hepml.config import Cut
from hepml.errors import InputError
from hepml.inference.events import Events, Yields, yields_in_cells
from hepml.inference.goals import Goal

COARSE = 32  # grid points per variable where two are scanned together
FINE = 400  # where one is scanned alone
KEPT_AT_START = (0.95, 0.8, 0.6)  # of the signal by each cut, if there are more than two
LARGEST_SWEEPS = 20

Bounds = Float[np.ndarray, "cuts 2"]
Variables = Float[np.ndarray, "cuts events"]


def inside(variables: Variables, bounds: Bounds) -> Bool[np.ndarray, " events"]:
    """Which events all intervals hold."""
    low, high = bounds[:, :1], bounds[:, 1:]
    return np.asarray(np.all((variables >= low) & (variables < high), axis=0))


def best_bounds(cuts: tuple[Cut, ...], variables: Variables, events: Events, goal: Goal) -> Bounds:
    """Find the intervals that serve a goal best.

    All pairs of cuts are scanned together on a coarse grid of quantiles, then each cut alone on a
    fine one, the others held, until nothing improves. Grids are quantiles, half of the signal's
    and half of the background's, among the events the other cuts keep. With one or two cuts that
    sees the whole coarse grid; with more the search starts from several points.

    Args:
        cuts: which end of each interval is open.
        variables: one row per cut.
        events: to optimise on.
        goal: figure of merit and constraint.

    Raises:
        InputError: if no selection fulfils the constraint.
    """
    pairs = [list(pair) for pair in combinations(range(len(cuts)), 2)]
    singles = [[i] for i in range(len(cuts))]
    found = []
    for start in _starts(cuts, variables, events):
        bounds, _ = _improved(start, pairs, COARSE, cuts, (variables, events, goal))
        found.append(_improved(bounds, singles, FINE, cuts, (variables, events, goal)))
    bounds, merit = max(found, key=lambda bounds_and_merit: bounds_and_merit[1])
    if not np.isfinite(merit):
        raise InputError(
            f"inference: no selection on {', '.join(cut.variable for cut in cuts)} keeps signal "
            f"and {goal.minimum_background} raw background events of positive total weight "
            f"outside one fold ({np.count_nonzero(~events.signal)} background events there); "
            "lower inference.minimum_background or add background events"
        )
    return bounds


def _starts(cuts: tuple[Cut, ...], variables: Variables, events: Events) -> list[Bounds]:
    """No cut at all, and for more than two cuts boxes that each keep a share of the signal."""
    open_ends = np.tile([-np.inf, np.inf], (len(cuts), 1))
    starts = [open_ends]
    for kept in KEPT_AT_START if len(cuts) > 2 else ():
        bounds = open_ends.copy()
        for i, cut in enumerate(cuts):
            tails = 2 if cut.keep == "window" else 1
            ends = np.quantile(variables[i, events.signal], [(1 - kept) / tails, kept / tails])
            if cut.keep != "below":
                bounds[i, 0] = ends[0]
            if cut.keep == "below":
                bounds[i, 1] = ends[1]
            if cut.keep == "window":
                bounds[i, 1] = np.quantile(variables[i, events.signal], 1 - (1 - kept) / tails)
        starts.append(bounds)
    return starts


def _improved(
    bounds: Bounds,
    moves: list[list[int]],
    points: int,
    cuts: tuple[Cut, ...],
    task: tuple[Variables, Events, Goal],
) -> tuple[Bounds, float]:
    """Redo the intervals that each move names, the others held, while that helps."""
    variables, events, goal = task
    merit = float(goal(_yields_of(inside(variables, bounds), events))[0])
    for _ in range(LARGEST_SWEEPS):
        before = merit
        for move in moves:
            others = [i for i in range(len(cuts)) if i not in move]
            kept = inside(variables[others], bounds[others])
            ends, better = _scanned(
                variables[move][:, kept],
                events.only(kept),
                [cuts[i] for i in move],
                points,
                goal,
            )
            if better > merit:
                bounds, merit = bounds.copy(), better
                bounds[move] = ends
        if merit == before:
            break
    return bounds, merit


def _yields_of(kept: Bool[np.ndarray, " events"], events: Events) -> Yields:
    return yields_in_cells(events.only(kept), np.zeros(np.count_nonzero(kept), np.int64), 1)


def _scanned(
    variables: Float[np.ndarray, "scanned events"],
    events: Events,
    cuts: list[Cut],
    points: int,
    goal: Goal,
) -> tuple[Float[np.ndarray, "scanned 2"], float]:
    """The best intervals of one or two cuts, all combinations on the grid tried."""
    edges = [_grid(values, events.signal, points) for values in variables]
    cell = np.zeros(len(events.weight), np.int64)
    for edge, values in zip(edges, variables, strict=True):
        cell = cell * (len(edge) + 1) + np.searchsorted(edge, values, side="right")
    shape = tuple(len(edge) + 1 for edge in edges)
    ranges = [_ranges(cut, bins) for cut, bins in zip(cuts, shape, strict=True)]
    sums = yields_in_cells(events, cell, int(np.prod(shape)))
    merit = goal(
        Yields(*(_range_sums(x.reshape(shape), ranges) for x in vars(sums).values()))
    )  # one axis per cut
    best = np.unravel_index(int(np.argmax(merit)), merit.shape)
    ends = []
    for edge, (low, high), i in zip(edges, ranges, best, strict=True):
        closed = np.concatenate([[-np.inf], edge, [np.inf]])
        ends.append([closed[low[i]], closed[high[i]]])
    return np.array(ends), float(merit[best])


def _grid(
    values: Float[np.ndarray, " events"], signal: Bool[np.ndarray, " events"], points: int
) -> Float[np.ndarray, " points"]:
    """Quantiles of signal and background, without repetitions."""
    share = np.linspace(0, 1, points // 2 + 2)[1:-1]
    classes = [values[of_class] for of_class in (signal, ~signal) if of_class.any()]
    # values of events, without interpolation: a monotone transform changes nothing
    quantiles = [np.quantile(x, share, method="higher") for x in classes]
    return np.unique(np.concatenate(quantiles)) if quantiles else np.zeros(0)


def _ranges(cut: Cut, bins: int) -> Int[np.ndarray, "2 intervals"]:
    """First bin and end of every interval that the kind of cut allows, the widest first."""
    if cut.keep == "above":
        return np.stack([np.arange(bins), np.full(bins, bins)])
    if cut.keep == "below":
        return np.stack([np.zeros(bins, np.int64), np.arange(bins, 0, -1)])
    low, high = np.triu_indices(bins)
    widest_first = np.argsort(low - high, kind="stable")
    return np.stack([low[widest_first], high[widest_first] + 1])


def _range_sums(
    content: Float[np.ndarray, "*bins"], ranges: list[Int[np.ndarray, "2 _"]]
) -> Float[np.ndarray, "*intervals"]:
    """Contents summed over intervals of bins, on every axis."""
    for axis, (low, high) in enumerate(ranges):
        below = np.insert(np.cumsum(content, axis), 0, 0, axis)
        content = below.take(high, axis) - below.take(low, axis)
    return content
