"""Draw every figure of an analysis from the files of the other stages."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from hepml.artifacts import new_file
from hepml.config import Analysis
from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.plots import records
from hepml.plots.curves import roc_figure, significance_figure, training_figure
from hepml.plots.distributions import (
    class_shapes,
    llr_figure,
    seen_and_unseen,
    variable_figure,
)
from hepml.plots.histograms import common_edges
from hepml.plots.learning import learning_curve_figure
from hepml.plots.likelihood import likelihood_figure
from hepml.plots.ranking import ranked, ranking_figure
from hepml.plots.report import Report, render
from hepml.plots.style import Caption, save
from hepml.plots.yields import cutflow_figure, histogram_figure, summary_figure


@dataclass(frozen=True)
class ReportSources:
    """What the report is made from.

    Attributes:
        comparison: ``comparison.json``.
        results: ``inference/<method>.json`` of all methods, in the order of the comparison.
        data: folders of all samples.
        training: ``training/<model>/fold<k>`` of all models.
        figures: PNG files; their stems (``roc``, ``llr_<model>``, ...) say where they belong.
        provenance: ``provenance.json``.
        diagnostics: ``inference/<method>.closure.json`` of those methods that have it.
        interfering: ``interference/<method>.json`` of all methods, if the signal interferes.
    """

    comparison: Path
    results: tuple[Path, ...]
    data: tuple[Path, ...]
    training: tuple[Path, ...]
    figures: tuple[Path, ...]
    provenance: Path
    diagnostics: tuple[Path, ...] = ()
    interfering: tuple[Path, ...] = ()


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
    edges = common_edges((llr[label == 1], llr[label == 0]), outside=2e-4)
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
    curves = tuple(records.roc(_read(path)) for path in results)
    save(roc_figure(curves, caption), curves, stem)


def plot_significance(results: tuple[Path, ...], caption: Caption, stem: Path) -> None:
    """Draw the counting significance against the signal efficiency of all methods.

    Args:
        results: ``inference/<method>.json`` of all methods, in the order of their colours.
        caption: above the axes.
        stem: figure without suffix.
    """
    scans = tuple(records.scan(_read(path)) for path in results)
    save(significance_figure(scans, caption), scans, stem)


def plot_likelihood(results: tuple[Path, ...], caption: Caption, stem: Path) -> None:
    """Draw -2Δln L against µ by all methods and estimators.

    Args:
        results: ``inference/<method>.json`` of all methods, in the order of their colours.
        caption: above the axes.
        stem: figure without suffix.
    """
    profiles = tuple(profile for path in results for profile in records.profiles(_read(path)))
    save(likelihood_figure(profiles, caption), profiles, stem)


def plot_interference(results: tuple[Path, ...], caption: Caption, stem: Path) -> None:
    """Draw -2Δln L against µ of a signal that interferes, by all methods and estimators.

    Args:
        results: ``interference/<method>.json`` of all methods, in the order of their colours.
        caption: above the axes.
        stem: figure without suffix.
    """
    contents = [_read(path) for path in results]
    profiles = tuple(p for content in contents for p in records.interfering_profiles(content))
    save(likelihood_figure(profiles, caption), profiles, stem)


def plot_histogram(result: Path, caption: Caption, stem: Path) -> None:
    """Draw the histogram that the fit of one method uses.

    Args:
        result: ``inference/<method>.json``.
        caption: above the axes.
        stem: figure without suffix.
    """
    content = _read(result)
    slices = records.slices(content)
    save(histogram_figure(slices, content["title"], caption), slices, stem)


def plot_ranking(result: Path, caption: Caption, stem: Path) -> None:
    """Draw pulls and impacts of the nuisance parameters of one method.

    Args:
        result: ``inference/<method>.json``.
        caption: above the axes.
        stem: figure without suffix.
    """
    content = _read(result)
    record = ranked(content)
    save(ranking_figure(record, content["title"], caption), record, stem)


def plot_cutflow(data: tuple[Path, ...], caption: Caption, stem: Path) -> None:
    """Draw the expected events of all samples after each step of the selection.

    Args:
        data: folders of all samples.
        caption: above the axes.
        stem: figure without suffix.
    """
    flows = tuple(
        records.cut_flow(_read(folder / "cutflow.json"), open_columns(folder)["label"])
        for folder in data
    )
    save(cutflow_figure(flows, caption), flows, stem)


def plot_training(folders: tuple[Path, ...], title: str, caption: Caption, stem: Path) -> None:
    """Draw the losses of one model in all folds, those of all members of an ensemble.

    Args:
        folders: ``training/<model>/fold<k>`` of one model.
        title: of the model.
        caption: above the axes.
        stem: figure without suffix.
    """
    networks = tuple(
        records.losses(content, folder.name)
        for folder in folders
        for content in records.members(_read(folder / "model.json"))
    )
    save(training_figure(networks, title, caption), networks, stem)


def plot_summary(comparison: Path, caption: Caption, stem: Path) -> None:
    """Draw the significances of all methods.

    Args:
        comparison: ``comparison.json``.
        caption: above the axes.
        stem: figure without suffix.
    """
    methods = records.headlines(_read(comparison))
    save(summary_figure(methods, caption), methods, stem)


def plot_learning_curve(
    cuts: Path, points: tuple[tuple[str, Path, Path], ...], caption: Caption, stem: Path
) -> None:
    """Draw how good networks become with more events to train on.

    Args:
        cuts: ``inference/cuts.json``.
        points: model, folder of one of its trained folds, and the result then; the models have
            their colours in the order in which they appear.
        caption: above the axes.
        stem: figure without suffix.

    Raises:
        InputError: if a model was trained on the same number of events twice, or a result is not
            of a network.
    """
    seen: dict[tuple[str, int], Path] = {}
    read = []
    for model, folder, path in points:
        content, events = _read(path), int(_read(folder / "model.json")["training_events"])
        if not content["auc"]:
            raise InputError(f"plots: {path} is not the result of a network: it has no AUC")
        if (model, events) in seen:
            raise InputError(
                f"plots: {folder} and {seen[model, events]} were both trained on {events} events, "
                "all there are; take the larger number out of learning_curve"
            )
        seen[model, events] = folder
        read.append((model, events, content))
    curves = records.learning_curves(_read(cuts), read)
    save(learning_curve_figure(curves, caption), curves, stem)


def write_report(analysis: Analysis, sources: ReportSources, output: Path) -> None:
    """Write the whole story of an analysis on one page that needs no other file.

    Args:
        analysis: all settings.
        sources: files of the other stages, and the figures.
        output: the HTML file.
    """
    trainings: dict[str, list[dict[str, Any]]] = {}
    for folder in sources.training:
        trainings.setdefault(folder.parent.name, []).append(_read(folder / "model.json"))
    report = Report(
        analysis=analysis,
        comparison=_read(sources.comparison),
        methods=tuple(_read(path) for path in sources.results),
        samples=tuple(_read(folder / "cutflow.json") for folder in sources.data),
        trainings=trainings,
        figures={path.stem: path.read_bytes() for path in sources.figures},
        provenance=_read(sources.provenance),
        diagnostics=tuple(_read(path) for path in sources.diagnostics),
        interfering=tuple(_read(path) for path in sources.interfering),
    )
    page = render(report)
    with new_file(output) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _require_classes(label: np.ndarray, sources: tuple[Path, ...]) -> None:
    for name, value in (("signal", 1), ("background", 0)):
        if not (label == value).any():
            where = ", ".join(str(path) for path in sources)
            raise InputError(f"plots: no {name} events in {where}; check the selection")


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))
