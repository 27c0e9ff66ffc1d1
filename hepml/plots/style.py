"""How every figure looks, and how a figure is kept: PDF, PNG and the numbers it shows."""

import dataclasses
import io
import logging
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mplhep
import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter
from pydantic import Field

from hepml.artifacts import new_file, write_json
from hepml.config import Real, Settings
from hepml.errors import InputError

SIGNAL = "#bd1f01"
BACKGROUND = "#3f90da"
UNKNOWN = "#717581"
CUTS = "#1c1c1c"
DIVERGING = "RdBu_r"  # colours of signed numbers: red speaks for signal, blue for background
# the classes' colours are Petroff's (arXiv:2107.02270), the models' Okabe and Ito's: both remain
# distinct with any kind of colour-blindness, and no model looks like a class
MODELS = ("#009e73", "#e69f00", "#832db6", "#56b4e9", "#cc79a7", "#a96b59")
logging.getLogger("fontTools").setLevel(logging.ERROR)  # remarks on old fonts, in every PDF
_LINES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P")

_STYLE = {
    **mplhep.style.CMS,
    "axes.linewidth": 1.0,
    "axes.unicode_minus": True,
    "errorbar.capsize": 0,
    "figure.dpi": 100,
    "figure.figsize": (6.4, 5.4),
    "font.sans-serif": ["TeX Gyre Heros", "Helvetica", "Arial", "DejaVu Sans"],
    "font.size": 13,
    "legend.borderaxespad": 0.8,
    "legend.fontsize": 11,
    "legend.handlelength": 2.8,  # dashes and dots can be told apart
    "legend.labelspacing": 0.4,
    "legend.title_fontsize": 12,
    "lines.linewidth": 1.6,
    "lines.markersize": 6,
    "mathtext.fontset": "stixsans",
    "pdf.fonttype": 42,  # fonts as text that can be searched and edited
    "savefig.dpi": 170,
    "xtick.major.size": 7,
    "xtick.minor.size": 3.5,
    "ytick.major.size": 7,
    "ytick.minor.size": 3.5,
}


class Caption(Settings):
    """What stands above the axes of every figure."""

    title: str = Field(description="of the analysis")
    heading: str = Field("", description="such as Simulation")
    luminosity: Real = Field(gt=0, description="[fb⁻¹]")


@dataclasses.dataclass(frozen=True)
class Panels:
    """A figure with its panels, and the axes of the colour bars: both (rows, columns)."""

    figure: Figure
    axes: np.ndarray
    bars: np.ndarray


@contextmanager
def styled() -> Iterator[None]:
    """The house style while the block runs; global settings are as before afterwards.

    It also decorates the functions that draw.
    """
    with rc_context(_STYLE):
        yield


def new_axes(caption: Caption) -> tuple[Figure, Axes]:
    """A figure with one panel under its caption."""
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    write_caption(axes, caption)
    return figure, axes


def new_axes_with_ratio(
    caption: Caption, heights: tuple[int, int] = (3, 1)
) -> tuple[Figure, Axes, Axes]:
    """A figure with a panel, and a lower one along the same horizontal axis, such as a ratio."""
    figure = Figure(figsize=(6.4, 6.6), layout="constrained")
    grid = figure.add_gridspec(2, 1, height_ratios=heights)
    upper = figure.add_subplot(grid[0])
    lower = figure.add_subplot(grid[1], sharex=upper)
    upper.tick_params(labelbottom=False)
    figure.set_layout_engine("constrained", hspace=0, h_pad=0.03)
    write_caption(upper, caption)
    return figure, upper, lower


def new_panels(caption: Caption, title: str, rows: int, bars: tuple[bool, ...]) -> Panels:
    """Rows of square panels with common axes, some with a colour bar to their right.

    Args:
        caption: above the first row.
        title: of the model that the figure is about.
        rows: number of rows.
        bars: for each column, whether a colour bar follows it.
    """
    side, left, gap, bar = 2.7, 0.85, 0.12, 1.15  # inches; square panels leave no layout to find
    columns = np.cumsum([left] + [side + (bar if follows else gap) for follows in bars])
    lines = headline(caption, title).count("\n") + 1
    width, height = columns[-1], rows * (side + gap) + 0.9 + 0.24 * lines
    figure = Figure(figsize=(width, height))
    panels = np.empty((rows, len(bars)), dtype=object)
    colours = np.empty((rows, len(bars)), dtype=object)
    for (row, column), _ in np.ndenumerate(panels):
        bottom = (0.6 + (rows - 1 - row) * (side + gap)) / height
        box = (columns[column] / width, bottom, side / width, side / height)
        axes = figure.add_axes(box, sharex=panels[0, 0], sharey=panels[0, 0])
        axes.tick_params(labelleft=column == 0, labelbottom=row == rows - 1)
        panels[row, column] = axes
        if bars[column]:
            beside = (box[0] + (side + 0.08) / width, bottom, 0.14 / width, side / height)
            colours[row, column] = figure.add_axes(beside)
    write_caption(panels[0, 0], caption, title, panels[0, -1])
    return Panels(figure, panels, colours)


def model_look(position: int) -> dict[str, Any]:
    """Colour, line and marker of the model at this position in the analysis' list."""
    return {
        "color": MODELS[position % len(MODELS)],
        "linestyle": _LINES[position % len(_LINES)],
        "marker": _MARKERS[position % len(_MARKERS)],
    }


def method_looks(methods: list[str]) -> dict[str, dict[str, Any]]:
    """Look of each method: the cuts' own, the models' in the order given."""
    models = [name for name in methods if name != "cuts"]
    looks = {name: model_look(position) for position, name in enumerate(models)}
    return {"cuts": {"color": CUTS, "linestyle": "none", "marker": "*", "markersize": 11}, **looks}


def legend_line(label: str, look: Mapping[str, Any]) -> Line2D:
    """An entry for a legend that no drawn line stands for."""
    return Line2D([], [], label=label, **look)


def make_room(axes: Axes, fraction: float) -> None:
    """Raise the upper limit so that this fraction of the height stays free for a legend."""
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, low * (high / low) ** (1 / (1 - fraction)))
    else:
        axes.set_ylim(low, low + (high - low) / (1 - fraction))


def save(figure: Figure, numbers: object, stem: Path) -> None:
    """Write ``<stem>.pdf``, ``<stem>.png`` and ``<stem>.json``, each whole or not at all.

    Everything is drawn in memory before the first file is touched, so a figure that cannot be
    drawn leaves what was there as it was.

    Args:
        figure: what to draw.
        numbers: the record it was drawn from; not finite numbers become null.
        stem: path without a suffix; may contain dots.

    Raises:
        InputError: if a label is not valid LaTeX.
    """
    with styled():
        try:
            drawn = {"png": _rendered(figure, "png")}
            figure.set_layout_engine("none")  # keep what was found: faster, and both alike
            drawn["pdf"] = _rendered(figure, "pdf")
        except ValueError as error:
            if "ParseException" not in str(error) and "ParseFatalException" not in str(error):
                raise
            raise InputError(
                f"{stem.name}: a label or title is not LaTeX that Matplotlib reads; mend it in "
                f"plots.labels or title: {error}"
            ) from None
    for kind, content in drawn.items():
        with new_file(stem.with_name(f"{stem.name}.{kind}")) as temporary:
            temporary.write_bytes(content)
    write_json(stem.with_name(f"{stem.name}.json"), as_json(numbers))


def as_json(numbers: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """Records and arrays as JSON holds them; numbers that are not finite become null."""
    if dataclasses.is_dataclass(numbers) and not isinstance(numbers, type):
        fields = dataclasses.fields(numbers)
        return {field.name: as_json(getattr(numbers, field.name)) for field in fields}
    if isinstance(numbers, Mapping):
        return {str(key): as_json(value) for key, value in numbers.items()}
    if isinstance(numbers, np.ndarray | np.generic):
        return as_json(numbers.tolist())
    if isinstance(numbers, list | tuple):
        return [as_json(value) for value in numbers]
    if isinstance(numbers, float) and not np.isfinite(numbers):
        return None
    return numbers


def headline(caption: Caption, title: str) -> str:
    """Title of the analysis, and of a model, in lines of at most 60 characters."""
    return textwrap.fill(f"{caption.title}: {title}" if title else caption.title, 60)


def plain_decades(axis: Axis) -> None:
    """Label a logarithmic axis of few decades with plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def write_caption(
    axes: Axes, caption: Caption, title: str = "", rightmost: Axes | None = None
) -> None:
    """Write the title of the analysis, and of a model, its heading and luminosity above the axes.

    Args:
        axes: the first of a row.
        caption: what to write.
        title: of the model that the whole figure is about.
        rightmost: the last of the row, if there are several.
    """
    axes.set_title(caption.heading, loc="left", style="italic", fontsize=12)
    luminosity = f"{caption.luminosity:g} fb$^{{-1}}$"
    (rightmost or axes).set_title(luminosity, loc="right", fontsize=12)
    axes.annotate(
        headline(caption, title),
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(0, 24),
        textcoords="offset points",
        fontsize=13,
        fontweight="bold",
        verticalalignment="bottom",
    )


def _rendered(figure: Figure, kind: str) -> bytes:
    buffer = io.BytesIO()
    # no dates or versions inside, so the same numbers give the same bytes
    metadata = {"CreationDate": None} if kind == "pdf" else {"Software": None}
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()
