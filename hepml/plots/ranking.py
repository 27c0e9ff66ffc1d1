"""Nuisance parameters ranked by their impact on µ."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hepml.plots.style import Caption, styled, write_caption

UP, DOWN = "#e69f00", "#0072b2"
MOST = 25  # parameters that are shown
BARS = (("prefit", 0.8), ("postfit", 0.5))  # heights


@dataclass(frozen=True)
class Ranked:
    """Nuisance parameters of one fit, the largest impact first.

    Attributes:
        fit: what was fitted.
        titles: of the parameters.
        prefit: change of µ for each, one standard deviation of its constraint down and up.
        postfit: likewise, one error after the fit.
        pull: best fit.
        error: of it.
        cost: in significance, of each alone.
        left_out: how many more there are.
    """

    fit: str
    titles: tuple[str, ...]
    prefit: Float[np.ndarray, "parameters 2"]
    postfit: Float[np.ndarray, "parameters 2"]
    pull: Float[np.ndarray, " parameters"]
    error: Float[np.ndarray, " parameters"]
    cost: Float[np.ndarray, " parameters"]
    left_out: int


def ranked(content: Mapping[str, Any]) -> Ranked:
    """Of ``inference/<method>.json``: the unbinned fit, or the binned one if there is no other."""
    nuisances = content["nuisances"]
    fit = "unbinned" if nuisances["unbinned"] else "binned"
    ranking = nuisances[fit]
    shown = ranking["impacts"][:MOST]

    def column(name: str) -> np.ndarray:
        return np.array([impact[name] for impact in shown], dtype=float)

    return Ranked(
        f"{fit} fit",
        tuple(impact["title"] for impact in shown),
        column("prefit").reshape(len(shown), 2),
        column("postfit").reshape(len(shown), 2),
        column("pull"),
        column("error"),
        ranking["z_without"] - column("z_with_only_this"),
        len(ranking["impacts"]) - len(shown),
    )


@styled()
def ranking_figure(record: Ranked, title: str, caption: Caption) -> Figure:
    """Pulls with their errors as points, and beside them impacts on µ as bars."""
    number = len(record.titles)
    figure = Figure(figsize=(8.4, 2.9 + 0.42 * max(number, 1)), layout="constrained")
    pulls, impacts = figure.subplots(1, 2, sharey=True, width_ratios=(2, 3))
    rows = np.arange(number)
    write_caption(pulls, caption, f"{title}, {record.fit}", impacts)
    pulls.texts[0].set_in_layout(False)  # a long title would widen its panel
    room = 0.55 / figure.get_figheight()  # for that title
    figure.set_layout_engine("constrained", rect=(0, 0, 1, 1 - room))
    pulls.errorbar(
        record.pull, rows, xerr=record.error, color="black", marker="o", markersize=5, ls="none"
    )
    for at, style in ((-1, "--"), (0, "-"), (1, "--")):
        pulls.axvline(at, color="#888888", linewidth=0.8, linestyle=style)
    pulls.set_xlim(-1.8, 1.8)
    pulls.set_xlabel(r"Pull $\hat{\alpha}$ and its error")
    pulls.set_yticks(rows, record.titles)
    pulls.set_ylim(max(number, 1) - 0.4, -0.6)
    _draw_bars(impacts, record, rows)
    for axes in (pulls, impacts):
        axes.tick_params(axis="y", which="both", left=False, right=False)
    figure.legend(*impacts.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    if not number:
        impacts.annotate("no sources", (0.5, 0.5), xycoords="axes fraction", ha="center")
    return figure


def _draw_bars(impacts: Axes, record: Ranked, rows: np.ndarray) -> None:
    for kind, height in BARS:
        changes = getattr(record, kind)
        for side, (colour, sign) in enumerate(((DOWN, "-"), (UP, "+"))):
            after = kind == "postfit"
            width = r"\hat{\sigma}$, after the fit" if after else "1$, before the fit"
            impacts.barh(
                rows,
                changes[:, side],
                height,
                color=colour if after else "none",
                edgecolor=colour,
                linewidth=1.2,
                label=rf"$\alpha = \hat{{\alpha}} {sign} {width}",
            )
    largest = float(np.abs(np.stack([record.prefit, record.postfit])).max(initial=1e-6))
    impacts.set_xlim(-1.2 * largest, 2.2 * largest)
    for row, cost in enumerate(record.cost):
        text = f"$\\Delta Z = {0.0 - round(float(cost), 2):+.2f}$"
        impacts.annotate(text, (2.15 * largest, row), va="center", ha="right", fontsize=10)
    impacts.axvline(0, color="#888888", linewidth=0.8)
    impacts.set_xlabel(r"Impact $\Delta\mu$")
