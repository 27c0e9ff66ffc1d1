"""-2Δln L against the signal strength, by every method and estimator."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hepml.plots.style import Caption, legend_line, make_room, method_looks, new_axes, styled

_LINES = {"unbinned": "-", "binned": "--", "counting": ":"}
_ALL = "all events"  # counted: the same for every method
_LARGEST = 9.0


@dataclass(frozen=True)
class Profile:
    """One curve: t(µ) of an estimator of a method.

    Attributes:
        sigma: of µ, all sources of uncertainty profiled, as they are in t.
        relative: over that of the method's own unbinned fit; None without one.
        sigma_normalisation_only: with no source but the normalisation of the background; None where
            the fit knows no sources.
        relative_normalisation_only: likewise.
    """

    method: str
    title: str
    estimator: str
    mu: np.ndarray
    t: np.ndarray
    sigma: float
    relative: float | None
    sigma_normalisation_only: float | None = None
    relative_normalisation_only: float | None = None


@styled()
def likelihood_figure(profiles: tuple[Profile, ...], caption: Caption) -> Figure:
    """Curves of all methods in their colours; the estimator is the kind of line."""
    figure, axes = new_axes(caption)
    looks = method_looks(list(dict.fromkeys(profile.method for profile in profiles)))
    entries = []
    for profile in profiles:
        if profile.estimator in _LINES:
            look = {
                "color": looks[profile.method]["color"],
                "linestyle": _LINES[profile.estimator],
            }
            label = f"{profile.title}, {profile.estimator}: $\\sigma_\\mu$ = {profile.sigma:.3g}"
            axes.plot(profile.mu, profile.t, **look)
            entries.append(legend_line(label, look))
    everything = next(profile for profile in profiles if profile.estimator == _ALL)
    look = {"color": "grey", "linestyle": "-."}
    axes.plot(everything.mu, everything.t, **look)
    label = f"All events counted: $\\sigma_\\mu$ = {everything.sigma:.3g}"
    entries.append(legend_line(label, look))
    for level, text in ((1.0, "68 %"), (3.841, "95 %")):
        axes.axhline(level, color="grey", linewidth=0.8, linestyle=(0, (1, 3)), zorder=0)
        across = axes.get_yaxis_transform()
        axes.text(0.97, level, text, transform=across, ha="right", va="bottom", size=10)
    _frame(axes, profiles)
    axes.legend(handles=entries, loc="upper center")
    return figure


def _frame(axes: Axes, profiles: tuple[Profile, ...]) -> None:
    """As wide as the curves of methods reach, high enough that the legend hides no minimum."""
    shown = [profile for profile in profiles if profile.estimator in _LINES]
    widest = sorted(profile.sigma for profile in shown)[-1]
    axes.set_xlim(max(0.0, 1 - 3.2 * widest), 1 + 3.2 * widest)
    axes.set_ylim(0, _LARGEST)
    make_room(axes, 0.04 + 0.055 * (len(shown) + 1))
    axes.set_xlabel(r"Signal strength $\mu$")
    axes.set_ylabel(r"$-2\Delta\,\ln L$")
