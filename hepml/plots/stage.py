"""Draw every figure of an analysis from the files of the other stages."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.plots.curves import (
    Losses,
    Roc,
    Scan,
    roc_figure,
    significance_figure,
    training_figure,
)
from hepml.plots.distributions import (
    class_shapes,
    llr_figure,
    seen_and_unseen,
    variable_figure,
)
from hepml.plots.histograms import common_edges
from hepml.plots.quantities import Measured, measured
from hepml.plots.style import Caption, save
from hepml.plots.yields import (
    CutFlow,
    Headline,
    Slices,
    cutflow_figure,
    histogram_figure,
    summary_figure,
)

_ROLES: dict[tuple[int, ...], str] = {(0,): "background", (1,): "signal", (-1,): "data"}


def plot_llr(scores: tuple[Path, ...], title: str, caption: Caption, stem: Path) -> None:
    """Draw the log-likelihood ratio of both classes, by networks that saw the events or not.

    Args:
        scores: parquet files of one model, all samples.
        title: of the model.
        caption: above the axes.
        stem: figure without suffix; ``.pdf``, ``.png`` and ``.json`` are written.

    Raises:
        InputError: if a class has no events.
    """
    names = ["label", "weight", "llr", "llr_train"]
    tables = [pq.read_table(path, columns=names) for path in scores]
    label, weight, llr, llr_train = (
        np.concatenate([table[name].to_numpy() for table in tables]) for name in names
    )
    _require_classes(label, scores)
    edges = common_edges((llr[label == 1], llr[label == 0]), bins=40, outside=2e-4)
    classes = {
        name: seen_and_unseen(llr[chosen], llr_train[chosen], weight[chosen], edges)
        for name, chosen in (("signal", label == 1), ("background", label == 0))
    }
    save(llr_figure(classes, title, caption), classes, stem)


def plot_variable(
    data: tuple[Path, ...], variable: str, label: str, caption: Caption, stem: Path
) -> None:
    """Draw one variable of signal and background. Data, if there are any, stay hidden.

    Args:
        data: folders of all samples.
        variable: name of a column.
        label: of the horizontal axis, LaTeX allowed.
        caption: above the axes.
        stem: figure without suffix.

    Raises:
        InputError: if a class has no events or there is no such column.
    """
    samples = [open_columns(folder) for folder in data]
    x, classes, weight = (
        np.concatenate([sample[name] for sample in samples])
        for name in (variable, "label", "weight")
    )
    _require_classes(classes, data)
    simulated = classes >= 0
    shapes = class_shapes(x[simulated], classes[simulated] == 1, weight[simulated])
    save(variable_figure(shapes, label, caption), shapes, stem)


def plot_roc(results: tuple[Path, ...], caption: Caption, stem: Path) -> None:
    """Draw the ROC curves of all models and the working point of the cuts.

    Args:
        results: ``inference/<method>.json`` of all methods, in the order of their colours.
        caption: above the axes.
        stem: figure without suffix.
    """
    curves = tuple(_roc(_read(path)) for path in results)
    save(roc_figure(curves, caption), curves, stem)


def plot_significance(results: tuple[Path, ...], caption: Caption, stem: Path) -> None:
    """Draw the counting significance against the signal efficiency of all methods.

    Args:
        results: ``inference/<method>.json`` of all methods, in the order of their colours.
        caption: above the axes.
        stem: figure without suffix.
    """
    scans = tuple(_scan(_read(path)) for path in results)
    save(significance_figure(scans, caption), scans, stem)


def plot_histogram(result: Path, caption: Caption, stem: Path) -> None:
    """Draw the histogram that the fit of one method uses.

    Args:
        result: ``inference/<method>.json``.
        caption: above the axes.
        stem: figure without suffix.
    """
    content = _read(result)
    slices = _slices(content["histogram"])
    save(histogram_figure(slices, content["title"], caption), slices, stem)


def plot_cutflow(data: tuple[Path, ...], caption: Caption, stem: Path) -> None:
    """Draw the expected events of all samples after each step of the selection.

    Args:
        data: folders of all samples.
        caption: above the axes.
        stem: figure without suffix.
    """
    flows = tuple(_cutflow(folder) for folder in data)
    save(cutflow_figure(flows, caption), flows, stem)


def plot_training(folders: tuple[Path, ...], title: str, caption: Caption, stem: Path) -> None:
    """Draw the losses of one model in all folds.

    Args:
        folders: ``training/<model>/fold<k>`` of one model.
        title: of the model.
        caption: above the axes.
        stem: figure without suffix.
    """
    folds = tuple(_losses(folder) for folder in folders)
    save(training_figure(folds, title, caption), folds, stem)


def plot_summary(comparison: Path, caption: Caption, stem: Path) -> None:
    """Draw the significances of all methods.

    Args:
        comparison: ``comparison.json``.
        caption: above the axes.
        stem: figure without suffix.
    """
    methods = tuple(
        Headline(row["title"], _of_row(row, "z_counting"), _of_row(row, "z_binned"))
        for row in _read(comparison)["rows"]
    )
    save(summary_figure(methods, caption), methods, stem)


def _roc(content: dict[str, Any]) -> Roc:
    curve = content["roc"] or {"signal_efficiency": [], "background_efficiency": []}
    point = content["working_point"]
    return Roc(
        method=content["method"],
        title=content["title"],
        auc=measured(content["auc"]),
        signal_efficiency=_floats(curve["signal_efficiency"]),
        background_efficiency=_floats(curve["background_efficiency"]),
        point=(
            Measured(**point["signal_efficiency"]),
            Measured(**point["background_efficiency"]),
        ),
    )


def _scan(content: dict[str, Any]) -> Scan:
    curve = content["scan"] or {"signal_efficiency": [], "significance": [], "error": []}
    return Scan(
        method=content["method"],
        title=content["title"],
        signal_efficiency=_floats(curve["signal_efficiency"]),
        significance=_floats(curve["significance"]),
        error=_floats(curve["error"]),
        point=Measured(**content["working_point"]["signal_efficiency"]),
        point_significance=Measured(**content["significance"]["counting"]),
    )


def _slices(content: dict[str, Any]) -> Slices:
    return Slices(
        edges=_floats(content["edges"]).mean(axis=0) if content["edges"] else np.empty(0),
        signal=_floats(content["signal"]),
        signal_error=_floats(content["signal_error"]),
        background=_floats(content["background"]),
        background_error=_floats(content["background_error"]),
    )


def _cutflow(folder: Path) -> CutFlow:
    content = _read(folder / "cutflow.json")
    present = tuple(int(label) for label in np.unique(open_columns(folder)["label"]))
    steps = content["steps"]
    return CutFlow(
        sample=content["sample"],
        role=_ROLES.get(present, "mixed"),
        steps=tuple(step["step"] for step in steps),
        yields=_floats([step["yield"] for step in steps]),
        errors=_floats([step["error"] for step in steps]),
    )


def _losses(folder: Path) -> Losses:
    content = _read(folder / "model.json")
    history = content["history"]
    return Losses(
        fold=folder.name,
        epochs=np.array([entry["epoch"] for entry in history]),
        training=_floats([entry["training_loss"] for entry in history]),
        validation=_floats([entry["validation_loss"] for entry in history]),
        best_epoch=content["best_epoch"],
    )


def _of_row(row: dict[str, Any], name: str) -> Measured | None:
    return measured({"value": row[name], "error": row[f"{name}_error"]})


def _floats(values: list[Any]) -> np.ndarray:
    """Numbers from JSON; null, which stands for what is not finite, becomes NaN."""
    return np.array(values, dtype=float)


def _require_classes(label: np.ndarray, sources: tuple[Path, ...]) -> None:
    for name, value in (("signal", 1), ("background", 0)):
        if not (label == value).any():
            where = ", ".join(str(path) for path in sources)
            raise InputError(f"plots: no {name} events in {where}; check the selection")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
