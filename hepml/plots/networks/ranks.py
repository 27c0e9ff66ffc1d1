"""How much single particles matter to a network on sets: by their hardness, and in the plane."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hepml.plots.means import Mean, weighted_mean
from hepml.plots.style import (
    BACKGROUND,
    DIVERGING,
    SIGNAL,
    Caption,
    legend_line,
    make_room,
    styled,
    write_caption,
)

MINIMUM_JETS = 25  # that have a particle of some rank, for its mean to be shown
MINIMUM_PARTICLES = 20  # in a cell of the plane, likewise
CELLS = 20  # along each axis of the plane
_COLOURS = {"signal": SIGNAL, "background": BACKGROUND}


@dataclass(frozen=True)
class Removals:
    """What each particle of some jets adds to the logit: the jet's less that without the particle.

    Particles of a jet stand together, hardest first.
    """

    effect: Float[np.ndarray, " particles"]
    position: Float[np.ndarray, "particles 2"]
    counts: Int[np.ndarray, " jets"]
    weight: Float[np.ndarray, " jets"]


@dataclass(frozen=True)
class Ranks:
    """Means over the jets that have a k-th hardest particle, k = 1, 2, ...

    Attributes:
        size: of |Δ logit|.
        effect: of Δ logit, positive where the particle speaks for signal.
        jets: how many they are.
    """

    size: Mean
    effect: Mean
    jets: np.ndarray


@dataclass(frozen=True)
class Cells:
    """Mean Δ logit of the particles in each cell of the plane, NaN where there are too few."""

    effect: np.ndarray
    particles: np.ndarray


@dataclass(frozen=True)
class Importance:
    """What particles of both classes do; ``edges`` are those of the cells, in η and in φ."""

    ranks: dict[str, Ranks]
    edges: np.ndarray
    cells: dict[str, Cells]


def importance_of(classes: dict[str, Removals]) -> Importance:
    """Means by rank and by place.

    The plane shows as much as holds 98 % of the particles of either class.

    Args:
        classes: "signal" and "background".
    """
    reach = max(float(np.quantile(np.abs(c.position), 0.99)) for c in classes.values())
    reach = reach or 1.0  # single particles are at the centre
    edges = np.linspace(-reach, reach, CELLS + 1)
    return Importance(
        ranks={name: by_rank(removals) for name, removals in classes.items()},
        edges=edges,
        cells={name: in_cells(removals, edges) for name, removals in classes.items()},
    )


def by_rank(removals: Removals) -> Ranks:
    """Means over jets for each rank that at least ``MINIMUM_JETS`` jets have."""
    first = np.cumsum(removals.counts) - removals.counts
    longest = int(removals.counts.max(initial=0))
    jets = np.array([np.count_nonzero(removals.counts > k) for k in range(longest)], dtype=int)
    ranks = np.flatnonzero(jets >= MINIMUM_JETS)
    sizes, effects = [], []
    for k in ranks:
        has = removals.counts > k
        effect, weight = removals.effect[first[has] + k], removals.weight[has]
        sizes.append(weighted_mean([(np.abs(effect), weight)]))
        effects.append(weighted_mean([(effect, weight)]))
    return Ranks(_stacked(sizes), _stacked(effects), jets[ranks])


def in_cells(removals: Removals, edges: Float[np.ndarray, " edges"]) -> Cells:
    """Mean over all particles in each cell, each with the weight of its jet."""
    weight = np.repeat(removals.weight, removals.counts)
    x, y = removals.position.T
    particles, _, _ = np.histogram2d(x, y, (edges, edges))
    weights, _, _ = np.histogram2d(x, y, (edges, edges), weights=weight)
    total, _, _ = np.histogram2d(x, y, (edges, edges), weights=weight * removals.effect)
    known = (particles >= MINIMUM_PARTICLES) & (weights > 0)
    effect = np.divide(total, weights, out=np.full_like(total, np.nan), where=known)
    return Cells(effect, particles.astype(int))


@styled()
def importance_figure(importance: Importance, title: str, caption: Caption) -> Figure:
    """Left: mean |Δ logit| and Δ logit by rank; right: mean Δ logit in the plane."""
    figure = Figure(figsize=(9.6, 7.0), layout="constrained")
    grid = figure.add_gridspec(2, 2, width_ratios=(1.25, 1))
    sizes = figure.add_subplot(grid[0, 0])
    effects = figure.add_subplot(grid[1, 0], sharex=sizes)
    planes = [figure.add_subplot(grid[row, 1]) for row in range(2)]
    write_caption(sizes, caption, title, planes[0])
    for name, ranks in importance.ranks.items():
        rank = np.arange(len(ranks.jets)) + 1
        _draw_band(sizes, rank, ranks.size, _COLOURS[name])
        _draw_band(effects, rank, ranks.effect, _COLOURS[name])
    sizes.tick_params(labelbottom=False)
    sizes.set_ylim(0, None)
    make_room(sizes, 0.12)
    sizes.set_ylabel(r"Mean $|\Delta$ logit$|$")
    sizes.legend(
        handles=[legend_line(name.capitalize(), {"color": c}) for name, c in _COLOURS.items()],
        loc="upper right",
    )
    effects.axhline(0, color="grey", linewidth=1, zorder=0)
    effects.set_ylabel(r"Mean $\Delta$ logit")
    effects.set_xlabel("Rank of the particle in $p_T$")
    effects.set_xlim(0, max(len(ranks.jets) for ranks in importance.ranks.values()) + 1)
    _draw_planes(figure, planes, importance)
    return figure


def _draw_band(axes: Axes, rank: np.ndarray, mean: Mean, colour: str) -> None:
    axes.plot(rank, mean.value, color=colour)
    axes.fill_between(
        rank, mean.value - mean.error, mean.value + mean.error, color=colour, alpha=0.3, linewidth=0
    )


def _draw_planes(figure: Figure, planes: list[Axes], importance: Importance) -> None:
    reach = colour_reach(tuple(importance.cells.values()))
    extent = (importance.edges[0], importance.edges[-1]) * 2
    for axes, (name, cells) in zip(planes, importance.cells.items(), strict=True):
        axes.set_facecolor("#e4e4e4")  # where there are too few particles
        image = axes.imshow(
            cells.effect.T,
            origin="lower",
            extent=extent,
            interpolation="nearest",
            norm=Normalize(-reach, reach),
            cmap=DIVERGING,
        )
        axes.text(0.04, 0.96, name.capitalize(), transform=axes.transAxes, va="top")
        axes.set_ylabel(r"$\Delta\phi'$")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(5, prune="both"))
    planes[-1].set_xlabel(r"$\Delta\eta'$")
    bar = figure.colorbar(image, ax=planes, extend="both", shrink=0.9)
    bar.set_label(r"Mean $\Delta$ logit of a particle there", loc="center")


def colour_reach(planes: tuple[Cells, ...]) -> float:
    """|Δ logit| that the cells with 99 % of the particles stay below; the others are cut off."""
    known = [np.isfinite(cells.effect) for cells in planes]
    sizes = np.concatenate([np.abs(c.effect[k]) for c, k in zip(planes, known, strict=True)])
    particles = np.concatenate([c.particles[k] for c, k in zip(planes, known, strict=True)])
    order = np.argsort(sizes)
    below = np.cumsum(particles[order]) <= 0.99 * particles.sum()
    return float(sizes[order][below].max(initial=0)) or 1.0


def _stacked(means: list[Mean]) -> Mean:
    return Mean(np.array([m.value for m in means]), np.array([m.error for m in means]))
