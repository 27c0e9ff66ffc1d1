"""Signal and background side by side: variables, and the log-likelihood ratio."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from hepml.plots.histograms import (
    Histogram,
    Ratio,
    common_edges,
    ks_distance,
    ratio,
    unit_area,
    visible_range,
    weighted_histogram,
)
from hepml.plots.style import (
    BACKGROUND,
    SIGNAL,
    Caption,
    legend_line,
    make_room,
    new_axes_with_ratio,
    styled,
)

_COLOURS = {"signal": SIGNAL, "background": BACKGROUND}
_POINTS: dict[str, Any] = {"marker": "o", "markersize": 3.6, "linestyle": "none", "elinewidth": 1.2}


@dataclass(frozen=True)
class Shapes:
    """A variable of signal and of background, each as a density with area 1."""

    signal: Histogram
    background: Histogram
    ratio: Ratio


@dataclass(frozen=True)
class SeenAndUnseen:
    """A score of one class by networks that had seen the events, and by one that had not."""

    seen: Histogram
    unseen: Histogram
    ratio: Ratio
    distance: float


def class_shapes(
    x: Float[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
) -> Shapes:
    """Normalised histograms of a variable for both classes, in common bins.

    Args:
        x: the variable.
        signal: True for signal, False for background.
        weight: of each event.
    """
    edges = common_edges((x[signal], x[~signal]), outside=2e-3)
    shapes = [unit_area(weighted_histogram(x[c], weight[c], edges)) for c in (signal, ~signal)]
    return Shapes(shapes[0], shapes[1], ratio(shapes[0], shapes[1]))


def seen_and_unseen(
    unseen: Float[np.ndarray, " events"],
    seen: Float[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
    edges: Float[np.ndarray, " edges"],
) -> SeenAndUnseen:
    """Compare the scores of one class with and without the events in training.

    The errors of the ratio are those of ``unseen`` alone: both sides hold the same events, so
    their fluctuations are mostly common.
    """
    filled = unit_area(weighted_histogram(seen, weight, edges))
    points = unit_area(weighted_histogram(unseen, weight, edges))
    exact = Histogram(filled.edges, filled.values, np.zeros_like(filled.errors))
    return SeenAndUnseen(filled, points, ratio(points, exact), ks_distance(unseen, seen, weight))


@styled()
def variable_figure(shapes: Shapes, label: str, caption: Caption) -> Figure:
    """Densities of both classes; below, signal over background."""
    figure, upper, lower = new_axes_with_ratio(caption)
    for name, histogram in (("signal", shapes.signal), ("background", shapes.background)):
        _draw_band(upper, histogram, name)
    upper.set_ylim(0, 1.05 * max(s.values.max() for s in (shapes.signal, shapes.background)))
    make_room(upper, 0.16)
    upper.set_xlim(shapes.signal.edges[0], shapes.signal.edges[-1])
    upper.set_ylabel("Density")
    upper.legend(
        handles=[legend_line(name.capitalize(), {"color": c}) for name, c in _COLOURS.items()],
        loc="upper right",
        ncols=2,
    )
    known = np.where(shapes.ratio.errors < shapes.ratio.values, shapes.ratio.values, np.nan)
    lower.errorbar(_centres(shapes.signal), known, shapes.ratio.errors, color="black", **_POINTS)
    lower.axhline(1, color="grey", linewidth=1, zorder=0)
    _ratio_axis(lower, shapes.ratio)
    lower.set_ylabel("Sig. / bkg.", loc="center")
    lower.set_xlabel(label)
    figure.align_ylabels([upper, lower])
    return figure


@styled()
def llr_figure(classes: dict[str, SeenAndUnseen], title: str, caption: Caption) -> Figure:
    """Points: scores by the network that never saw the event; filled: by one that had.

    Args:
        classes: "signal" and "background".
        title: of the model.
        caption: above the axes.
    """
    figure, upper, lower = new_axes_with_ratio(caption)
    for name, both in classes.items():
        colour = _COLOURS[name]
        edges, centres = both.seen.edges, _centres(both.seen)
        upper.stairs(both.seen.values, edges, fill=True, color=colour, alpha=0.3)
        shown = np.where(both.unseen.values > 0, both.unseen.values, np.nan)
        errors = np.minimum(both.unseen.errors, 0.999 * shown), both.unseen.errors
        upper.errorbar(centres, shown, errors, color=colour, **_POINTS)
        lower.errorbar(centres, both.ratio.values, both.ratio.errors, color=colour, **_POINTS)
    values = np.concatenate([c.values for b in classes.values() for c in (b.seen, b.unseen)])
    low, high = visible_range(values)
    upper.set_yscale("log")
    upper.set_ylim(0.5 * low, 1.5 * high)
    make_room(upper, 0.25)
    upper.set_xlim(edges[0], edges[-1])
    upper.set_ylabel("Density")
    _label_llr(upper, classes, title)
    lower.axhline(1, color="grey", linewidth=1, zorder=0)
    lower.set_ylim(0.7, 1.3)
    lower.set_ylabel("Test / train", loc="center")
    lower.set_xlabel("Log-likelihood ratio")
    figure.align_ylabels([upper, lower])
    return figure


def _label_llr(axes: Axes, classes: dict[str, SeenAndUnseen], title: str) -> None:
    entries = []
    for name, both in classes.items():
        label = f"{name.capitalize()} (KS distance {both.distance:.3f})"
        look = {"color": _COLOURS[name], "linewidth": 6, "alpha": 0.45}
        entries.append(legend_line(label, look))
    grey = {"color": "#555555"}
    entries.append(legend_line("Test: never seen", {**grey, "marker": "o", "linestyle": "none"}))
    entries.append(legend_line("Train: seen", {**grey, "linewidth": 6, "alpha": 0.35}))
    axes.legend(
        handles=entries, loc="upper left", ncols=2, title=title, alignment="left", columnspacing=1.4
    )


def _draw_band(axes: Axes, histogram: Histogram, name: str) -> None:
    """The histogram as a line, its errors as a band."""
    colour = _COLOURS[name]
    low, high = histogram.values - histogram.errors, histogram.values + histogram.errors
    axes.stairs(histogram.values, histogram.edges, color=colour, linewidth=1.6)
    axes.stairs(histogram.values, histogram.edges, fill=True, color=colour, alpha=0.12)
    axes.stairs(high, histogram.edges, baseline=low, fill=True, color=colour, alpha=0.35)


def _ratio_axis(axes: Axes, quotient: Ratio) -> None:
    """An axis around 1 over the ratios known better than to 50 %, logarithmic if they are far."""
    known = quotient.values[quotient.errors < 0.5 * quotient.values]
    low, high = visible_range(np.append(known, 1.0))
    reach = min(max(high, 1 / low) * 1.5, 300.0)
    if reach < 4:
        axes.set_ylim(0, max(reach, 2.0))
        return
    axes.set_yscale("log")
    axes.set_ylim(1 / reach, reach)
    axes.yaxis.set_major_locator(LogLocator(numticks=5))
    axes.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _centres(histogram: Histogram) -> np.ndarray:
    return (histogram.edges[1:] + histogram.edges[:-1]) / 2
