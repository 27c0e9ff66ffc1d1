"""One subcommand per stage: paths in and out, settings as JSON. Each rule is one such call."""

import sys
from pathlib import Path
from typing import Any

import click

from hepml.errors import InputError

Folder = click.Path(path_type=Path, file_okay=False)
File = click.Path(path_type=Path, dir_okay=False)
ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)
ExistingFile = click.Path(path_type=Path, exists=True, dir_okay=False)

_device = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    envvar="HEPML_DEVICE",
    show_envvar=True,
    help="auto: a GPU if there is one; cuda: an error if there is none",
)

FIGURES = ("llr", "roc", "significance", "histogram", "variable", "cutflow", "training", "summary")


class _Stages(click.Group):
    """Lists the stages in the order data flows through them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=_Stages, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hepml-workflow")
def hepml() -> None:
    """From ROOT ntuples to a comparison of networks with a cut-based selection.

    Each stage reads files and writes files; the workflow calls them in turn, and so can you.
    """


@hepml.command()
@click.argument("output", type=File)
@click.option("--settings", required=True, help="JSON: process, events, seed, simulation")
def simulate(output: Path, settings: str) -> None:
    """Simulate one ROOT file of jets or of analytic toys."""
    from hepml.config import SimulationJob
    from hepml.configfile import parse
    from hepml.simulation import stage

    stage.simulate(parse(SimulationJob, settings, "--settings"), output)


@hepml.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--settings", required=True, help="JSON: name, sample, data, luminosity, folds")
@click.option("--output", required=True, type=Folder, help="folder of the columns")
def data(files: tuple[str, ...], settings: str, output: Path) -> None:
    """Read the ROOT ntuples of one sample into memory-mappable columns."""
    from hepml.config import DataJob
    from hepml.configfile import parse
    from hepml.data import stage

    stage.make_columns(parse(DataJob, settings, "--settings"), files, output)


@hepml.command()
@click.argument("data", nargs=-1, required=True, type=ExistingFolder)
@click.option("--settings", required=True, help="JSON: model, folds, seed")
@click.option("--fold", required=True, type=int, help="tested on, so never trained on")
@_device
@click.option("--output", required=True, type=Folder, help="folder of the network")
def train(data: tuple[Path, ...], settings: str, fold: int, device: str, output: Path) -> None:
    """Train one network on all folds but one."""
    from hepml.config import TrainingJob
    from hepml.configfile import parse
    from hepml.training import stage
    from hepml.training.device import choose_device

    job = parse(TrainingJob, settings, "--settings")
    stage.train(job, data, fold, output, choose_device(device), _say)


@hepml.command()
@click.argument("models", nargs=-1, required=True, type=ExistingFolder)
@click.option("--data", required=True, type=ExistingFolder, help="columns of one sample")
@click.option("--spectator", "spectators", multiple=True, help="variable to copy")
@_device
@click.option("--output", required=True, type=File, help="parquet file")
def score(
    models: tuple[Path, ...], data: Path, spectators: tuple[str, ...], device: str, output: Path
) -> None:
    """Score every event of a sample by the network that never saw it."""
    from hepml.scores import stage
    from hepml.training.device import choose_device

    stage.score(models, data, spectators, output, choose_device(device))


@hepml.command()
@click.argument("data", nargs=-1, required=True, type=ExistingFolder)
@click.option("--scores", multiple=True, type=ExistingFile, help="one per sample; none for cuts")
@click.option("--settings", required=True, help="JSON: method, title, cuts, inference, folds, seed")
@click.option("--output", required=True, type=File, help="JSON")
@click.option("--workspace", required=True, type=File, help="pyhf workspace")
def infer(
    data: tuple[Path, ...], scores: tuple[Path, ...], settings: str, output: Path, workspace: Path
) -> None:
    """Turn the scores of a model, or the cuts, into significances and limits."""
    from hepml.config import InferenceJob
    from hepml.configfile import parse
    from hepml.inference import stage

    stage.infer(parse(InferenceJob, settings, "--settings"), data, scores, output, workspace)


@hepml.command()
@click.argument("results", nargs=-1, required=True, type=ExistingFile)
@click.option("--model", "models", multiple=True, type=(str, ExistingFolder), help="NAME FOLDER")
@click.option("--luminosity", required=True, type=float, help="of the expected events [fb⁻¹]")
@click.option("--output", required=True, type=Folder, help="for comparison.json, .csv and .md")
def compare(
    results: tuple[Path, ...],
    models: tuple[tuple[str, Path], ...],
    luminosity: float,
    output: Path,
) -> None:
    """Compare methods on the same events, with errors of the differences."""
    from hepml.inference import stage

    folders: dict[str, tuple[Path, ...]] = {}
    for name, folder in models:
        folders[name] = (*folders.get(name, ()), folder)
    stage.compare(results, folders, output, luminosity)


@hepml.command()
@click.argument("kind", type=click.Choice(FIGURES))
@click.argument("sources", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--caption", required=True, help="JSON: title, luminosity, heading")
@click.option("--title", default="", help="of the model (llr, training)")
@click.option("--variable", default="", help="to draw (variable)")
@click.option("--label", default="", help="of the axis (variable)")
@click.option("--output", required=True, type=File, help="PNG; a PDF and a JSON are put beside it")
def plot(kind: str, sources: tuple[Path, ...], caption: str, output: Path, **texts: str) -> None:
    """Draw one figure from the files of the stage that it shows."""
    from functools import partial

    from hepml.configfile import parse
    from hepml.plots import stage
    from hepml.plots.style import Caption

    under, stem = parse(Caption, caption, "--caption"), output.with_suffix("")
    title, variable, label = texts["title"], texts["variable"], texts["label"]
    draw = {
        "llr": partial(stage.plot_llr, sources, title),
        "roc": partial(stage.plot_roc, sources),
        "significance": partial(stage.plot_significance, sources),
        "histogram": partial(stage.plot_histogram, sources[0]),
        "variable": partial(stage.plot_variable, sources, variable, label),
        "cutflow": partial(stage.plot_cutflow, sources),
        "training": partial(stage.plot_training, sources, title),
        "summary": partial(stage.plot_summary, sources[0]),
    }
    draw[kind](under, stem)


@hepml.command()
@click.option("--comparison", required=True, type=ExistingFile)
@click.option("--provenance", required=True, type=ExistingFile)
@click.option("--results", multiple=True, required=True, type=ExistingFile, help="inference/*.json")
@click.option("--data", multiple=True, required=True, type=ExistingFolder, help="columns")
@click.option("--training", multiple=True, type=ExistingFolder, help="MODEL/foldK")
@click.option("--figures", multiple=True, type=ExistingFile, help="PNG")
@click.option("--settings", required=True, help="JSON: the whole analysis")
@click.option("--output", required=True, type=File, help="HTML")
def report(settings: str, output: Path, **sources: Any) -> None:  # noqa: ANN401
    """Write the report: one page that needs no other file."""
    from hepml.config import Analysis
    from hepml.configfile import parse
    from hepml.plots import stage

    analysis = parse(Analysis, settings, "--settings")
    stage.write_report(analysis, stage.ReportSources(**sources), output)


@hepml.command()
@click.argument("files", nargs=-1, type=ExistingFile)
@click.option("--settings", required=True, help="JSON: the whole analysis")
@click.option("--output", required=True, type=File, help="JSON")
def provenance(files: tuple[Path, ...], settings: str, output: Path) -> None:
    """Record versions, commit, settings and checksums of the ntuples."""
    import json

    from hepml.artifacts import write_json
    from hepml.provenance import record

    write_json(output, record(files, json.loads(settings)))


@hepml.command()
@click.argument("config", type=File)
def check(config: Path) -> None:
    """Check a config with its files, branches and expressions; list all problems at once."""
    from hepml.configfile import data_jobs
    from hepml.data.check import problems

    jobs, found = data_jobs(config)
    found += problems(jobs)
    if found:
        raise InputError("\n".join(found))
    click.echo(f"{config}: {len(jobs)} samples, all is well")


@hepml.command()
@click.option("--json", "schema", required=True, type=File, help="JSON schema to write")
@click.option("--page", required=True, type=File, help="Markdown page to write")
def schema(schema: Path, page: Path) -> None:
    """Write the documentation of the config: JSON schema and a page of all keys."""
    from hepml import reference

    schema.write_text(reference.schema(), encoding="utf-8")
    page.write_text(reference.page(), encoding="utf-8")


def _say(line: str) -> None:
    click.echo(line, err=True)


def main(arguments: list[str] | None = None) -> Any:  # noqa: ANN401
    """Run the command line; a user's mistake ends in one message and exit code 1."""
    try:
        return hepml.main(arguments, prog_name="hepml")
    except InputError as error:
        click.echo("\n".join(f"hepml: {line}" for line in str(error).splitlines()), err=True)
        sys.exit(1)
