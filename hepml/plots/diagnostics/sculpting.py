"""A variable of the background that a selection keeps, against what it rejects."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from hepml.inference.diagnostics.sculpting import Sculpting
from hepml.plots.style import (
    BACKGROUND,
    UNKNOWN,
    Caption,
    legend_line,
    make_room,
    new_axes,
    new_axes_with_ratio,
    styled,
)

_PASSED, _FAILED = BACKGROUND, UNKNOWN


@styled()
def sculpting_figure(found: Sculpting, label: str, title: str, caption: Caption) -> Figure:
    """Densities of both; below, what passes over what fails.

    Args:
        found: the shares in bins.
        label: of the variable, LaTeX allowed.
        title: of the method.
        caption: above the axes.
    """
    figure, upper, lower = new_axes_with_ratio(caption)
    edges = np.array(found.edges)
    width, centres = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    passed, error, failed, failed_error = (
        np.array(x) / width
        for x in (found.passed, found.passed_error, found.failed, found.failed_error)
    )
    upper.stairs(failed, edges, fill=True, color=_FAILED, alpha=0.35)
    points: dict[str, Any] = {
        "marker": "o",
        "markersize": 3.6,
        "linestyle": "none",
        "elinewidth": 1.2,
    }
    upper.errorbar(centres, passed, error, color=_PASSED, **points)
    upper.set_ylim(0, 1.1 * max((passed + error).max(), failed.max()))
    make_room(upper, 0.3)
    upper.set_xlim(edges[0], edges[-1])
    upper.set_ylabel("Density")
    upper.legend(
        handles=[
            legend_line(
                f"Background that passes ($\\varepsilon_S$ = {found.signal_efficiency:.2f})",
                {"color": _PASSED, "marker": "o", "linestyle": "none"},
            ),
            legend_line("Background that fails", {"color": _FAILED, "linewidth": 6, "alpha": 0.45}),
        ],
        loc="upper left",
        title=f"{title}: divergence {found.divergence.value:.3f} ± {found.divergence.error:.3f} "
        f"bits\nby chance {found.expected.value:.3f} ± {found.expected.error:.3f}",
        alignment="left",
    )
    both = (passed > 0) & (failed > 0)
    ratio = np.where(both, passed / np.where(both, failed, 1), np.nan)
    relative = np.hypot(error / np.where(both, passed, 1), failed_error / np.where(both, failed, 1))
    lower.errorbar(centres, ratio, ratio * relative, color="black", **points)
    lower.axhline(1, color="grey", linewidth=1, zorder=0)
    lower.set_ylim(0, float(np.clip(1.2 * np.nanmax(np.append(ratio, 1)), 2, 10)))
    lower.set_ylabel("Pass / fail", loc="center")
    lower.set_xlabel(label)
    figure.align_ylabels([upper, lower])
    return figure


@styled()
def nothing_to_draw(title: str, caption: Caption) -> Figure:
    """Says why there is no figure."""
    figure, axes = new_axes(caption)
    axes.set_axis_off()
    axes.annotate(
        f"{title}: too little background passes",
        xy=(0.5, 0.5),
        xycoords="axes fraction",
        ha="center",
    )
    return figure
