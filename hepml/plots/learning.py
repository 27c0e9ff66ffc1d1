"""How good each network becomes with more events to train on, and the cuts, which need none."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from hepml.inference.quantities import Measured, with_thousands
from hepml.plots.style import (
    CUTS,
    Caption,
    legend_line,
    make_room,
    method_looks,
    new_axes_with_ratio,
    plain_decades,
    styled,
)

_APART = 1.03  # models beside each other, so that their errors do not hide each other
_LABEL_APART = 1.35  # factor between two labels of the axis


@dataclass(frozen=True)
class LearningCurve:
    """One network trained on several numbers of events, judged on the same others each time.

    Attributes:
        method: its name.
        title: of it.
        events: numbers trained on, in rising order.
        auc_gap: 1 - AUC for each.
        auc_error: of it.
        significance: by counting, for each.
        significance_error: of it.
    """

    method: str
    title: str
    events: np.ndarray
    auc_gap: np.ndarray
    auc_error: np.ndarray
    significance: np.ndarray
    significance_error: np.ndarray


@dataclass(frozen=True)
class LearningCurves:
    """All networks, and the significance of the cuts by counting."""

    cuts: Measured
    networks: tuple[LearningCurve, ...]


@styled()
def learning_curve_figure(curves: LearningCurves, caption: Caption) -> Figure:
    """Above 1 - AUC, below Z by counting, against the number of events trained on."""
    figure, upper, lower = new_axes_with_ratio(caption, (1, 1))
    looks = method_looks([curve.method for curve in curves.networks])
    entries = []
    for number, curve in enumerate(curves.networks):
        look = looks[curve.method]
        x = curve.events * _APART ** (number - (len(curves.networks) - 1) / 2)
        upper.errorbar(x, curve.auc_gap, curve.auc_error, **look)
        lower.errorbar(x, curve.significance, curve.significance_error, **look)
        entries.append(legend_line(curve.title, look))
    upper.set_xscale("log")
    upper.set_yscale("log")
    upper.set_ylabel("1 − AUC")
    plain_decades(upper.yaxis)
    make_room(upper, 0.06 + 0.07 * len(entries))
    upper.legend(handles=entries, loc="upper right")
    _draw_cuts(lower, curves.cuts)
    make_room(lower, 0.1)
    lower.set_ylabel("$Z$ (counting)")
    lower.set_xlabel("Events trained on")
    _label_events(lower, np.unique(np.concatenate([c.events for c in curves.networks])))
    figure.align_ylabels([upper, lower])
    return figure


def _draw_cuts(axes: Axes, cuts: Measured) -> None:
    """A line across with a band of its error."""
    error = cuts.error or 0
    axes.axhline(cuts.value, color=CUTS, linewidth=1, linestyle="--", zorder=0)
    axes.axhspan(cuts.value - error, cuts.value + error, color=CUTS, alpha=0.12, linewidth=0)
    look: dict[str, Any] = {"color": CUTS, "linestyle": "--", "linewidth": 1}
    axes.legend(handles=[legend_line("Cuts", look)], loc="upper left")


def _label_events(axes: Axes, events: np.ndarray) -> None:
    """Ticks at the numbers that were trained on, labels where there is room."""
    shown: list[int] = []
    for number in events.tolist():
        if not shown or number >= _LABEL_APART * shown[-1]:
            shown.append(number)
    axes.set_xticks(shown, [with_thousands(number) for number in shown])
    axes.set_xlim(events[0] / 1.25, events[-1] * 1.25)
    axes.xaxis.set_minor_locator(NullLocator())
