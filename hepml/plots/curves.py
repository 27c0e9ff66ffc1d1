"""Curves of all methods on one pair of axes: ROC, significance, and losses of the training."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hepml.inference.quantities import Measured
from hepml.plots.histograms import visible_range
from hepml.plots.style import (
    Caption,
    legend_line,
    make_room,
    method_looks,
    new_axes,
    plain_decades,
    styled,
)

_TRAINING = "#e69f00"
_VALIDATION = "#0072b2"


@dataclass(frozen=True)
class Roc:
    """How much background a method keeps for how much signal.

    The curve is empty for a method without a score; ``point`` is what its selection does.
    """

    method: str
    title: str
    auc: Measured | None
    signal_efficiency: np.ndarray
    background_efficiency: np.ndarray
    point: tuple[Measured, Measured]


@dataclass(frozen=True)
class Scan:
    """Significance of counting events above a threshold, against the signal it keeps.

    The curve is empty for a method without a score; ``point`` is the working point, chosen on
    other events than those it is evaluated on, and ``significance`` what it yields there.
    """

    method: str
    title: str
    signal_efficiency: np.ndarray
    significance: np.ndarray
    error: np.ndarray
    point: Measured
    point_significance: Measured


@dataclass(frozen=True)
class Losses:
    """Mean loss of each epoch of one fold's training; ``best_epoch`` is the one kept."""

    fold: str
    epochs: np.ndarray
    training: np.ndarray
    validation: np.ndarray
    best_epoch: int | None


@styled()
def roc_figure(curves: tuple[Roc, ...], caption: Caption) -> Figure:
    """Background rejection 1/ε_B against signal efficiency ε_S of every method."""
    figure, axes = new_axes(caption)
    looks = method_looks([curve.method for curve in curves])
    tops = [10.0]
    entries = []
    for curve in curves:
        look = looks[curve.method]
        shown = (curve.background_efficiency > 0) & (curve.signal_efficiency > 0)
        rejection = 1 / curve.background_efficiency[shown]
        efficiency = curve.signal_efficiency[shown]
        axes.plot(efficiency, rejection, color=look["color"], linestyle=look["linestyle"])
        tops.append(float(rejection[efficiency >= 0.05].max(initial=1)))
        tops += _draw_rejection(axes, curve, look)
        label = f"{curve.title} (AUC {curve.auc})" if curve.auc else curve.title
        entries.append(legend_line(label, look))
    random = np.linspace(0.001, 1, 200)
    axes.plot(random, 1 / random, color="grey", linewidth=1, linestyle=(0, (1, 3)), zorder=0)
    entries.append(legend_line("random choice", {"color": "grey", "linestyle": (0, (1, 3))}))
    axes.set_yscale("log")
    axes.set_ylim(1, 1.5 * max(tops))
    axes.set_xlim(0, 1)
    make_room(axes, 0.06 * len(entries))
    axes.set_xlabel(r"Signal efficiency $\varepsilon_S$")
    axes.set_ylabel(r"Background rejection $1/\varepsilon_B$")
    axes.legend(handles=entries, loc="upper right")
    return figure


@styled()
def significance_figure(scans: tuple[Scan, ...], caption: Caption) -> Figure:
    """Expected significance against the signal efficiency a threshold on the score leaves."""
    figure, axes = new_axes(caption)
    looks = method_looks([scan.method for scan in scans])
    tops = [0.1]
    entries = []
    for scan in scans:
        look = looks[scan.method]
        x, z, error = scan.signal_efficiency, scan.significance, scan.error
        axes.plot(x, z, color=look["color"], linestyle=look["linestyle"])
        axes.fill_between(x, z - error, z + error, color=look["color"], alpha=0.2, linewidth=0)
        _draw_point(axes, (scan.point, scan.point_significance), look)
        # a curve's ends rest on few events: the axis follows the curve where it is known
        known = np.isfinite(z) & ~(error > 0.3 * np.abs(z))
        tops.append(float((z + np.nan_to_num(error))[known].max(initial=0.1)))
        tops.append(scan.point_significance.value + (scan.point_significance.error or 0))
        entries.append(legend_line(scan.title, look))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.05 * max(tops))
    make_room(axes, 0.05 + 0.055 * len(entries))
    axes.set_xlabel(r"Signal efficiency $\varepsilon_S$")
    axes.set_ylabel(r"Expected significance $Z$ (counting)")
    axes.legend(handles=entries, loc="upper right")
    return figure


@styled()
def training_figure(folds: tuple[Losses, ...], title: str, caption: Caption) -> Figure:
    """Training and validation loss per epoch, a thin line per network, the epoch kept marked."""
    figure, axes = new_axes(caption)
    number = len({losses.fold for losses in folds})
    for losses in folds:
        axes.plot(losses.epochs, losses.training, color=_TRAINING, linewidth=1, alpha=0.8)
        axes.plot(losses.epochs, losses.validation, color=_VALIDATION, linewidth=1, alpha=0.8)
        best = losses.epochs == losses.best_epoch
        axes.plot(
            losses.epochs[best],
            losses.validation[best],
            color=_VALIDATION,
            marker="o",
            linestyle="none",
        )
    axes.legend(
        handles=[
            legend_line("Training loss", {"color": _TRAINING}),
            legend_line("Validation loss", {"color": _VALIDATION}),
            legend_line("Epoch kept", {"color": _VALIDATION, "marker": "o", "linestyle": "none"}),
        ],
        title=f"{title}, {number} fold{'' if number == 1 else 's'}",
        loc="upper right",
        alignment="left",
    )
    _loss_axis(axes, folds)
    axes.set_xlabel("Epoch")
    axes.set_ylabel("Loss per event")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.tick_params(axis="x", which="minor", bottom=False, top=False)
    return figure


def _loss_axis(axes: Axes, folds: tuple[Losses, ...]) -> None:
    """Linear where all losses are of one size, logarithmic where the first ones dwarf the rest."""
    values = np.concatenate([part for f in folds for part in (f.training, f.validation)])
    low, high = visible_range(values)
    if high > 5 * low:
        axes.set_yscale("log")
        axes.set_ylim(0.9 * low, 1.1 * high)
        plain_decades(axes.yaxis)
    else:
        margin = 0.05 * (high - low) or 0.05 * high
        axes.set_ylim(low - margin, high + margin)
    make_room(axes, 0.15)


def _draw_rejection(axes: Axes, curve: Roc, look: dict[str, Any]) -> list[float]:
    """The working point at 1/ε_B, with error ΔεB/εB²; returns what the axis has to reach."""
    signal, background = curve.point
    if background.value <= 0:
        return []
    rejection = 1 / background.value
    error = (background.error or 0) * rejection**2
    _draw_point(axes, (signal, Measured(rejection, error)), look)
    return [rejection + error]


def _draw_point(axes: Axes, point: tuple[Measured, Measured], look: dict[str, Any]) -> None:
    x, y = point
    low = min(y.error or 0, 0.999 * abs(y.value))  # a logarithmic axis ends above 0
    axes.errorbar(
        [x.value],
        [y.value],
        xerr=[x.error or 0],
        yerr=[[low], [y.error or 0]],
        color=look["color"],
        marker=look["marker"],
        markersize=13 if look["marker"] == "*" else 8,
        elinewidth=1.4,
        zorder=5,
    )
