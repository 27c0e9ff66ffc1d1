"""Expected events: per slice of the score, after each cut; and the significance they give."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hepml.inference.counting import garwood_interval
from hepml.inference.quantities import Measured
from hepml.plots.histograms import visible_range
from hepml.plots.style import (
    BACKGROUND,
    CUTS,
    SIGNAL,
    UNKNOWN,
    Caption,
    make_room,
    new_axes,
    new_axes_with_ratio,
    styled,
)

_ROLES = {"signal": SIGNAL, "background": BACKGROUND, "data": CUTS, "mixed": UNKNOWN}
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

LABELS = 12  # of borders that fit beside each other below an axis


@dataclass(frozen=True)
class Slices:
    """Expected events in the slices of a score that the fit uses, and their MC errors.

    ``edges`` are means over the folds, infinite where a slice is open; each fold has its own.
    """

    edges: np.ndarray
    signal: np.ndarray
    signal_error: np.ndarray
    background: np.ndarray
    background_error: np.ndarray
    data: np.ndarray | None = None  # counts; NaN where the analysis is blind


@dataclass(frozen=True)
class CutFlow:
    """Expected events of one sample after each step of the selection."""

    sample: str
    role: str
    steps: tuple[str, ...]
    yields: np.ndarray
    errors: np.ndarray


@dataclass(frozen=True)
class Headline:
    """The significances of one method."""

    title: str
    counting: Measured | None
    binned: Measured | None


@styled()
def histogram_figure(slices: Slices, title: str, caption: Caption) -> Figure:
    """Expected events per slice, stacked, with MC errors, and data where they may be seen.

    Below, what each slice adds.
    """
    figure, upper, lower = new_axes_with_ratio(caption)
    edges = np.arange(len(slices.signal) + 1) + 0.5
    total = slices.background + slices.signal
    error = np.hypot(slices.background_error, slices.signal_error)
    low, high = visible_range(np.concatenate([slices.background, slices.signal]))
    floor = 0.3 * low
    upper.set_yscale("log")
    upper.stairs(
        slices.background, edges, baseline=floor, fill=True, color=BACKGROUND, label="Background"
    )
    upper.stairs(
        total, edges, baseline=slices.background, fill=True, color=SIGNAL, label="Signal on top"
    )
    upper.stairs(
        slices.signal, edges, baseline=None, color="#1c1c1c", linestyle="--", label="Signal alone"
    )
    band: dict[str, Any] = {
        "hatch": "//////",
        "facecolor": "none",
        "edgecolor": "#333333",
        "linewidth": 0,
    }
    below = np.maximum(total - error, floor)
    upper.stairs(total + error, edges, baseline=below, fill=True, label="MC statistics", **band)
    if slices.data is not None:
        _draw_data(upper, slices.data)
        high = max(high, float(np.nanmax(slices.data, initial=0.0)))
    upper.set_ylim(floor, 1.3 * max(high, float(total.max())))
    make_room(upper, 0.2 if slices.data is None else 0.3)  # for the legend
    upper.set_xlim(edges[0], edges[-1])
    upper.tick_params(axis="x", which="minor", bottom=False, top=False)
    upper.set_ylabel("Expected events per slice")
    upper.legend(loc="upper left", ncols=2, title=title, alignment="left")
    _draw_gain(lower, slices, edges)
    _label_slices(lower, slices.edges, edges)
    figure.align_ylabels([upper, lower])
    return figure


def _draw_data(axes: Axes, counts: np.ndarray) -> None:
    """Counts with Garwood intervals; grey where the analysis is blind."""
    seen = np.isfinite(counts) & (counts > 0)  # a logarithmic axis has no zero
    place = np.arange(1, len(counts) + 1)
    low, high = garwood_interval(counts[seen])
    axes.errorbar(
        place[seen],
        counts[seen],
        yerr=(counts[seen] - low, high - counts[seen]),
        fmt="o",
        color="black",
        markersize=5,
        linewidth=1.2,
        label="Data",
        zorder=5,
    )
    for at in place[np.isnan(counts)]:
        first = at == place[np.isnan(counts)][0]
        label = "Data not looked at" if first else None
        axes.axvspan(at - 0.5, at + 0.5, color="#9e9e9e", alpha=0.25, linewidth=0, label=label)


@styled()
def cutflow_figure(flows: tuple[CutFlow, ...], caption: Caption) -> Figure:
    """Expected events of every sample after each step, from top to bottom."""
    figure, axes = new_axes(caption)
    steps = merged_steps(tuple(flow.steps for flow in flows))
    figure.set_figheight(3.0 + 0.45 * len(steps))
    for number, flow in enumerate(flows):
        shown = np.where(flow.yields > 0, flow.yields, np.nan)
        axes.errorbar(
            shown,
            [steps.index(step) for step in flow.steps],
            xerr=(np.minimum(flow.errors, 0.999 * shown), flow.errors),
            color=_ROLES[flow.role],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=6,
            linestyle=("-", "--", "-.", ":")[number // len(_MARKERS) % 4],
            linewidth=1,
            label=f"{flow.sample} ({flow.role})" if flow.role != flow.sample else flow.sample,
        )
    low, high = visible_range(np.concatenate([flow.yields for flow in flows]))
    axes.set_xscale("log")
    axes.set_xlim(low / 2, high * 2)
    axes.set_yticks(range(len(steps)), steps)
    axes.set_ylim(len(steps) - 0.5, -0.5)
    axes.tick_params(axis="y", which="minor", left=False, right=False)
    axes.grid(axis="y", which="major", color="#dddddd", linewidth=0.8, linestyle="-")
    axes.set_axisbelow(True)
    axes.set_xlabel("Expected events after the step")
    figure.legend(loc="outside lower center", ncols=min(3, len(flows)), borderaxespad=0.2)
    return figure


def merged_steps(flows: tuple[tuple[str, ...], ...]) -> list[str]:
    """Steps of all samples in an order that is also the order within each sample.

    Of the steps whose predecessors are all placed, the one comes next that was named first. If
    two samples disagree about the order, the first one is right.
    """
    before: dict[str, set[str]] = {step: set() for steps in flows for step in steps}
    for steps in flows:
        for earlier, later in pairwise(steps):
            before[later].add(earlier)
    order: list[str] = []
    while before:
        ready = (step for step, earlier in before.items() if earlier <= set(order))
        order.append(next(ready, next(iter(before))))
        del before[order[-1]]
    return order


@styled()
def summary_figure(methods: tuple[Headline, ...], caption: Caption) -> Figure:
    """Significance of each method, by counting and by the binned fit, with errors."""
    figure, axes = new_axes(caption)
    figure.set_figheight(2.6 + 0.62 * len(methods))
    tops = [0.1]
    kinds = (
        ("Counting", "counting", "s", "#e69f00", -0.13),
        ("Binned fit", "binned", "o", "#0072b2", 0.13),
    )
    for label, kind, marker, colour, offset in kinds:
        found = [(row, getattr(m, kind)) for row, m in enumerate(methods) if getattr(m, kind)]
        axes.errorbar(
            [z.value for _, z in found],
            [row + offset for row, _ in found],
            xerr=[z.error or 0 for _, z in found],
            color=colour,
            marker=marker,
            markersize=8,
            linestyle="none",
            elinewidth=2,
            label=label,
        )
        tops += [z.value + (z.error or 0) for _, z in found]
        for row, z in found:
            beside = (z.value + (z.error or 0), row + offset)
            axes.annotate(
                str(z),
                beside,
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontsize=10,
            )
    axes.set_xlim(0, 1.3 * max(tops))
    axes.set_yticks(range(len(methods)), [method.title for method in methods])
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.tick_params(axis="y", which="both", left=False, right=False)
    for row in range(1, len(methods)):
        axes.axhline(row - 0.5, color="#dddddd", linewidth=0.8)
    axes.set_xlabel("Expected significance $Z$")
    figure.legend(loc="outside lower center", ncols=2, borderaxespad=0.2)
    return figure


def _draw_gain(axes: Axes, slices: Slices, edges: np.ndarray) -> None:
    background = np.where(slices.background > 0, slices.background, np.nan)
    gain = slices.signal / np.sqrt(background)
    axes.stairs(np.nan_to_num(gain), edges, color="black", linewidth=1.4)
    axes.set_ylim(0, 1.25 * float(np.nanmax(gain, initial=0.1)))
    axes.set_ylabel(r"$s/\sqrt{b}$", loc="center")


def _label_slices(axes: Axes, means: np.ndarray, edges: np.ndarray) -> None:
    """Thresholds at the borders of the slices; names where there is no score to cut on."""
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    inner = [(at, mean) for at, mean in zip(edges, means, strict=False) if np.isfinite(mean)]
    inner = inner[:: -(-len(inner) // LABELS) or 1]
    if len(means) == len(edges) and inner:
        axes.set_xticks(
            [at for at, _ in inner], [f"{mean:.2g}".replace("-", "−") for _, mean in inner]
        )
        axes.set_xlabel("Log-likelihood ratio at the borders of the slices (mean of the folds)")
    else:
        count = len(edges) - 1
        names = ["failed", "passed"] if count == 2 else [str(n + 1) for n in range(count)]
        axes.set_xticks(np.arange(1, count + 1), names)
        axes.set_xlabel("Selection" if count == 2 else "Slice")
