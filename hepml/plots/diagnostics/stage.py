"""Draw the diagnostics of one method: the only file of them that opens files."""

from collections.abc import Mapping
from pathlib import Path

from hepml.inference.diagnostics.record import DIAGNOSTICS, Diagnostics
from hepml.inference.stage import read_written
from hepml.plots.diagnostics.reweighting import reweighting_figure
from hepml.plots.diagnostics.sculpting import nothing_to_draw, sculpting_figure
from hepml.plots.style import Caption, save


def plot_reweighting(result: Path, labels: Mapping[str, str], caption: Caption, stem: Path) -> None:
    """Draw every variable before and after the background is reweighted to signal.

    Args:
        result: ``inference/<model>.closure.json``.
        labels: of the variables, LaTeX allowed.
        caption: above the axes.
        stem: figure without suffix; ``.pdf``, ``.png`` and ``.json`` are written.
    """
    found = read_diagnostics(result)
    figure = reweighting_figure(found.reweighted, labels, found.title, caption)
    save(figure, found.reweighted, stem)


def plot_sculpting(result: Path, labels: Mapping[str, str], caption: Caption, stem: Path) -> None:
    """Draw what a selection does to a variable of the background.

    Args:
        result: ``inference/<method>.closure.json``.
        labels: of the variables, LaTeX allowed.
        caption: above the axes.
        stem: figure without suffix.
    """
    found = read_diagnostics(result)
    if found.sculpting is None:
        save(nothing_to_draw(found.title, caption), None, stem)
        return
    label = labels.get(found.sculpting.variable, found.sculpting.variable)
    save(sculpting_figure(found.sculpting, label, found.title, caption), found.sculpting, stem)


def read_diagnostics(path: Path) -> Diagnostics:
    """What ``hepml diagnose`` wrote."""
    return read_written(path, DIAGNOSTICS.validate_json, "no diagnostics", "hepml diagnose")
