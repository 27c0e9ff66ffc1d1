"""`hepml plot`: one subcommand per figure, from the files of the stage that it shows."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from hepml.options import ExistingFile, ExistingFolder, File, StageGroup, runtime_options

Parameter = Callable[[Callable[..., None]], Callable[..., None]]


@click.group(cls=StageGroup)
def plot() -> None:
    """Draw one figure: PDF, PNG and the numbers it shows."""


def _caption(context: click.Context, option: click.Parameter, text: str) -> Any:  # noqa: ANN401, ARG001
    from hepml.configfile import parse
    from hepml.plots.style import Caption

    return parse(Caption, text, "--caption")


def _training_job(context: click.Context, option: click.Parameter, text: str) -> Any:  # noqa: ANN401, ARG001
    from hepml.config import TrainingJob
    from hepml.configfile import parse

    return parse(TrainingJob, text, "--settings")


def _stem(context: click.Context, option: click.Parameter, path: Path) -> Path:  # noqa: ARG001
    return path.with_suffix("")


_CAPTION = click.option(
    "--caption", required=True, callback=_caption, help="JSON: title, luminosity, heading"
)
_OUTPUT = click.option(
    "--output",
    "stem",
    required=True,
    type=File,
    callback=_stem,
    help="PNG; a PDF and a JSON are put beside it",
)
_TITLE = click.option("--title", required=True, help="of the model")
_DATA = click.argument("data", nargs=-1, required=True, type=ExistingFolder)
_RESULTS = click.argument("results", nargs=-1, required=True, type=ExistingFile)
_NETWORKS = click.option(
    "--network", "networks", multiple=True, required=True, type=ExistingFolder, help="one per fold"
)


def _add(name: str, summary: str, *parameters: Parameter, stage: str = "hepml.plots.stage") -> None:
    """Add the subcommand of the figure that ``plot_<name>`` in a stage draws."""

    def draw(**given: Any) -> None:  # noqa: ANN401
        getattr(import_module(stage), f"plot_{name}")(**given)

    command: Callable[..., None] = draw
    every: tuple[Parameter, ...] = (*parameters, _CAPTION, _OUTPUT)
    for parameter in reversed(every):  # as decorators are applied, the last one first
        command = parameter(command)
    plot.command(name, help=summary, made=(".png", ".pdf", ".json"))(command)


def _labels(context: click.Context, option: click.Parameter, text: str) -> Any:  # noqa: ANN401, ARG001
    import json

    return json.loads(text)


_LABELS = click.option(
    "--labels", default="{}", callback=_labels, help="JSON: labels of variables, LaTeX allowed"
)
_CLOSURE = click.argument("result", type=ExistingFile)

_add("roc", "Background rejection against signal efficiency, all methods.", _RESULTS)
_add("significance", "Expected significance against signal efficiency, all methods.", _RESULTS)
_add("likelihood", "-2Δln L against the signal strength, all methods and estimators.", _RESULTS)
_add(
    "interference",
    "-2Δln L against the strength of a signal that interferes, all methods and estimators.",
    _RESULTS,
)
_add(
    "summary",
    "Significances of all methods, with their errors.",
    click.argument("comparison", type=ExistingFile),
)
_add(
    "histogram",
    "What the binned fit of one method uses.",
    click.argument("result", type=ExistingFile),
)
_add(
    "ranking",
    "Pulls and impacts of the nuisance parameters of one method.",
    click.argument("result", type=ExistingFile),
)
_add("cutflow", "Expected events of all samples after each step of the selection.", _DATA)
_add(
    "variable",
    "One variable of signal and of background.",
    _DATA,
    click.option("--variable", required=True, help="to draw"),
    click.option("--label", required=True, help="of the axis, LaTeX allowed"),
)
_add(
    "llr",
    "Log-likelihood ratio by networks that saw the events, and that did not.",
    click.argument("scores", nargs=-1, required=True, type=ExistingFile),
    _TITLE,
)
_add(
    "training",
    "Losses of one model in all folds.",
    click.argument("folders", nargs=-1, required=True, type=ExistingFolder),
    _TITLE,
)
_add(
    "images",
    "Mean jet images of both classes, as a network on images is shown them.",
    _DATA,
    click.option(
        "--settings",
        "job",
        required=True,
        callback=_training_job,
        help="JSON, as for `hepml train`",
    ),
    _TITLE,
    stage="hepml.plots.networks.stage",
)
_add(
    "saliency",
    "Where a network on images looks: mean gradients of its logit.",
    _DATA,
    _NETWORKS,
    _TITLE,
    runtime_options,
    stage="hepml.plots.networks.stage",
)
_add(
    "importance",
    "Which particles a network on sets listens to: what taking one away changes.",
    _DATA,
    _NETWORKS,
    _TITLE,
    runtime_options,
    stage="hepml.plots.networks.stage",
)
_add(
    "learning_curve",
    "AUC and significance against the number of events that networks are trained on.",
    click.option("--cuts", required=True, type=ExistingFile, help="inference/cuts.json"),
    click.option(
        "--point",
        "points",
        multiple=True,
        required=True,
        type=(str, ExistingFolder, ExistingFile),
        metavar="MODEL FOLDER FILE",
        help="one trained fold, and the result of all",
    ),
)
for _name, _summary in (
    ("reweighting", "Every variable before and after reweighting to signal."),
    ("sculpting", "What a selection does to a variable of the background."),
):
    _add(_name, _summary, _CLOSURE, _LABELS, stage="hepml.plots.diagnostics.stage")
