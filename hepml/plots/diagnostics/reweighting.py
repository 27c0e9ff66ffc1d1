"""Signal, background, and background reweighted to signal: one panel per variable."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hepml.inference.diagnostics.reweighting import Reweighted
from hepml.plots.style import BACKGROUND, SIGNAL, Caption, legend_line, styled, write_caption

COLUMNS = 3
_LEGEND: dict[str, dict[str, Any]] = {
    "Signal": {"color": SIGNAL, "linewidth": 6, "alpha": 0.35},
    "Background": {"color": BACKGROUND, "linestyle": "--"},
    "Reweighted mixture": {"color": "black", "marker": "o", "markersize": 3.6, "linestyle": "none"},
}


@styled()
def reweighting_figure(
    variables: Sequence[Reweighted], labels: Mapping[str, str], title: str, caption: Caption
) -> Figure:
    """Densities of each variable; below, the reweighted mixture over signal.

    Args:
        variables: with at least one.
        labels: of the variables, LaTeX allowed.
        title: of the model.
        caption: above the first panel.
    """
    columns = min(COLUMNS, len(variables))
    rows = -(-len(variables) // columns)
    width, height = max(3.7 * columns, 6.4), 3.7 * rows + 1.3
    figure = Figure(figsize=(width, height))
    grid = figure.add_gridspec(
        3 * rows,  # densities, ratio, and room for the label
        columns,
        height_ratios=(2, 1, 0.7) * rows,
        hspace=0.08,
        wspace=0.22,
        left=0.75 / width,
        right=1 - 0.15 / width,
        bottom=0.1 / height,
        top=1 - 0.8 / height,
    )
    uppers = []
    for number, found in enumerate(variables):
        row, column = divmod(number, columns)
        upper = figure.add_subplot(grid[3 * row, column])
        lower = figure.add_subplot(grid[3 * row + 1, column], sharex=upper)
        _draw(upper, lower, found, labels.get(found.variable, found.variable))
        if column == 0:
            upper.set_ylabel("Density", fontsize=11)
            lower.set_ylabel("Ratio", fontsize=11, loc="center")
        uppers.append(upper)
    write_caption(uppers[0], caption, title, uppers[columns - 1])
    handles = [legend_line(name, look) for name, look in _LEGEND.items()]
    figure.legend(handles=handles, loc="lower center", ncols=3)
    return figure


def _draw(upper: Axes, lower: Axes, found: Reweighted, label: str) -> None:
    edges = np.array(found.edges)
    width, centres = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    signal, background, after = (
        np.array(shares) / width for shares in (found.signal, found.background, found.reweighted)
    )
    upper.stairs(signal, edges, fill=True, color=SIGNAL, alpha=0.3)
    upper.stairs(background, edges, color=BACKGROUND, linestyle="--", linewidth=1.4)
    upper.plot(centres, after, **_LEGEND["Reweighted mixture"])
    upper.set_ylim(0, 1.25 * max(signal.max(), background.max(), after.max()))
    upper.set_xlim(edges[0], edges[-1])
    upper.tick_params(labelbottom=False, labelsize=10)
    upper.annotate(
        f"$\\chi^2$/bins = {found.chi2:.0f}/{found.bins}",
        xy=(0.96, 0.95),
        xycoords="axes fraction",
        ha="right",
        va="top",
        fontsize=10,
    )
    ratio, error = (np.array(values, dtype=float) for values in (found.ratio, found.error))
    statistics = np.array(found.signal_error) / np.where(signal > 0, signal * width, np.nan)
    lower.stairs(
        1 + statistics, edges, baseline=1 - statistics, fill=True, color=SIGNAL, alpha=0.25
    )
    lower.errorbar(centres, ratio, error, color="black", fmt="o", markersize=3, elinewidth=1)
    lower.axhline(1, color="grey", linewidth=1, zorder=0)
    lower.set_ylim(0.75, 1.25)
    lower.tick_params(labelsize=10)
    lower.set_xlabel(label, fontsize=11)
