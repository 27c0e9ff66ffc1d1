"""One subcommand per stage: paths in and out, settings as JSON. Each rule is one such call."""

import sys
from pathlib import Path
from typing import Any

import click

from hepml.errors import InputError
from hepml.options import (
    ExistingFile,
    ExistingFolder,
    File,
    Folder,
    device_option,
    factory_option,
    varied_options,
)
from hepml.plots.commands import plot


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
@click.argument("source", type=ExistingFile)
@click.argument("output", type=File)
@click.option("--settings", required=True, help="JSON: variation, simulation")
def vary(source: Path, output: Path, settings: str) -> None:
    """Change the particles of simulated jets, and measure the jets again."""
    from hepml.config import VariationJob
    from hepml.configfile import parse
    from hepml.simulation.variations import stage

    stage.vary(parse(VariationJob, settings, "--settings"), source, output)


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
@device_option
@click.option("--output", required=True, type=Folder, help="folder of the network")
def train(
    data: tuple[Path, ...],
    settings: str,
    fold: int,
    device: Any,  # noqa: ANN401
    output: Path,
) -> None:
    """Train one network on all folds but one."""
    from hepml.config import TrainingJob
    from hepml.configfile import parse
    from hepml.training import stage

    job = parse(TrainingJob, settings, "--settings")
    stage.train(job, data, fold, output, device, _say)


@hepml.command()
@click.argument("data", nargs=-1, required=True, type=ExistingFolder)
@click.option("--network", "networks", multiple=True, required=True, type=ExistingFolder)
@click.option("--settings", required=True, help="JSON: model, folds, seed")
@device_option
@click.option("--output", required=True, type=Folder, help="folder of the ensemble")
def ensemble(
    data: tuple[Path, ...],
    networks: tuple[Path, ...],
    settings: str,
    device: Any,  # noqa: ANN401
    output: Path,
) -> None:
    """Make one of the networks of a fold that jobs of their own trained."""
    from hepml.config import TrainingJob
    from hepml.configfile import parse
    from hepml.training import stage

    job = parse(TrainingJob, settings, "--settings")
    stage.assemble(job, data, networks, output, device, _say)


@hepml.command()
@click.argument("models", nargs=-1, required=True, type=ExistingFolder)
@click.option("--data", required=True, type=ExistingFolder, help="columns of one sample")
@click.option("--spectator", "spectators", multiple=True, help="variable to copy")
@device_option
@factory_option
@click.option("--output", required=True, type=File, help="parquet file")
def score(
    models: tuple[Path, ...],
    data: Path,
    spectators: tuple[str, ...],
    device: Any,  # noqa: ANN401
    factory: Any,  # noqa: ANN401
    output: Path,
) -> None:
    """Score every event of a sample by the network that never saw it."""
    from hepml.scores import stage

    stage.score(models, data, spectators, output, device, factory)


@hepml.command()
@click.argument("network", type=ExistingFolder)
@click.option("--data", multiple=True, type=ExistingFolder, help="columns to compare on as well")
@factory_option
@click.option("--output", required=True, type=File, help="ONNX")
def export(network: Path, data: tuple[Path, ...], factory: Any, output: Path) -> None:  # noqa: ANN401
    """Export one network with its preprocessing to ONNX; compared with torch before it is kept."""
    from hepml.export import stage

    stage.export(network, data, output, factory, _say)


@hepml.command()
@click.argument("data", nargs=-1, required=True, type=ExistingFolder)
@click.option("--scores", multiple=True, type=ExistingFile, help="one per sample; none for cuts")
@varied_options
@click.option("--settings", required=True, help="JSON: method, title, cuts, inference, folds, seed")
@click.option("--output", required=True, type=File, help="JSON")
@click.option("--workspace", required=True, type=File, help="pyhf workspace")
def infer(
    data: tuple[Path, ...],
    scores: tuple[Path, ...],
    varied: Any,  # noqa: ANN401
    settings: str,
    output: Path,
    workspace: Path,
) -> None:
    """Turn the scores of a model, or the cuts, into significances and limits."""
    from hepml.config import InferenceJob
    from hepml.configfile import parse
    from hepml.inference import stage

    job = parse(InferenceJob, settings, "--settings")
    stage.infer(job, data, scores, output, workspace, varied)


@hepml.command()
@click.argument("data", nargs=-1, required=True, type=ExistingFolder)
@click.option("--scores", multiple=True, type=ExistingFile, help="one per sample; none for cuts")
@click.option(
    "--settings", required=True, help="JSON: as for infer, and variables, complete, exact"
)
@click.option("--output", required=True, type=File, help="JSON")
def diagnose(data: tuple[Path, ...], scores: tuple[Path, ...], settings: str, output: Path) -> None:
    """Find out whether a score can be trusted as a likelihood ratio."""
    from hepml.config import DiagnosticsJob
    from hepml.configfile import parse
    from hepml.inference.diagnostics import stage

    stage.diagnose(parse(DiagnosticsJob, settings, "--settings"), data, scores, output)


@hepml.command()
@click.argument("result", type=ExistingFile)
@click.option("--toys", required=True, type=click.IntRange(1), help="how many in all parts")
@click.option("--part", default=(0, 1), type=(int, int), help="its number from 0, and of how many")
@click.option("--output", required=True, type=File, help="npz")
def toys(result: Path, toys: int, part: tuple[int, int], output: Path) -> None:
    """Draw toy data sets of one method, or a part of them."""
    from hepml.inference.toys import stage

    if not 0 <= part[0] < part[1]:
        raise InputError(f"--part: {part[0]} is not one of {part[1]} parts, counted from 0")
    stage.draw_toys(result, toys, part, output)


@hepml.command("merge-toys")
@click.argument("result", type=ExistingFile)
@click.argument("parts", nargs=-1, required=True, type=ExistingFile)
@click.option("--toys", required=True, type=click.IntRange(2), help="how many in all parts")
@click.option("--output", required=True, type=File, help="JSON")
def merge_toys(result: Path, parts: tuple[Path, ...], toys: int, output: Path) -> None:
    """Turn the toys of one method into significances without asymptotic formulae."""
    from hepml.inference.toys import stage

    stage.merge_toys(result, parts, toys, output)


@hepml.command()
@click.argument("results", nargs=-1, required=True, type=ExistingFile)
@click.option("--model", "models", multiple=True, type=(str, ExistingFolder), help="NAME FOLDER")
@click.option("--luminosity", required=True, type=float, help="of the expected events [fb⁻¹]")
@click.option("--toys", multiple=True, type=ExistingFile, help="of merge-toys; one per method")
@click.option("--output", required=True, type=Folder, help="for comparison.json, .csv and .md")
def compare(
    results: tuple[Path, ...],
    models: tuple[tuple[str, Path], ...],
    luminosity: float,
    toys: tuple[Path, ...],
    output: Path,
) -> None:
    """Compare methods on the same events, with errors of the differences."""
    from hepml.inference import stage

    folders: dict[str, tuple[Path, ...]] = {}
    for name, folder in models:
        folders[name] = (*folders.get(name, ()), folder)
    stage.compare(results, folders, output, luminosity, toys)


hepml.add_command(plot)


@hepml.command()
@click.option("--comparison", required=True, type=ExistingFile)
@click.option("--provenance", required=True, type=ExistingFile)
@click.option("--results", multiple=True, required=True, type=ExistingFile, help="inference/*.json")
@click.option("--diagnostics", multiple=True, type=ExistingFile, help="inference/*.closure.json")
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
    """Record versions, commit, settings and checksums of ntuples and own networks."""
    import json

    from hepml.artifacts import write_json
    from hepml.provenance import record

    write_json(output, record(files, json.loads(settings)))


@hepml.command()
@click.argument("config", type=File)
@click.option("--closure", is_flag=True, help="look for cheating in results/<analysis> instead")
def check(config: Path, closure: bool) -> None:
    """Check a config with its files, branches and expressions; list all problems at once."""
    if closure:
        _detect(config)
        return
    from hepml.configfile import data_jobs
    from hepml.data.check import problems

    jobs, found = data_jobs(config)
    found += problems(jobs)
    if found:
        raise InputError("\n".join(found))
    samples = len({job.name for job in jobs})
    click.echo(f"{config}: {samples} samples, all is well")


@hepml.command()
@click.option("--json", "schema", required=True, type=File, help="JSON schema to write")
@click.option("--page", required=True, type=File, help="Markdown page to write")
def schema(schema: Path, page: Path) -> None:
    """Write the documentation of the config: JSON schema and a page of all keys."""
    from hepml import reference

    schema.write_text(reference.schema(), encoding="utf-8")
    page.write_text(reference.page(), encoding="utf-8")


def _detect(config: Path) -> None:
    """One line per question; an error if any answer is no."""
    from hepml.configfile import load
    from hepml.inference.detectors import stage

    analysis, failed = load(config), []
    for finding in stage.detect(analysis, Path("results") / analysis.analysis):
        word = {True: "ok    ", False: "FAILED", None: "-     "}[finding.passed]
        click.echo(f"{word} {finding.name}: {finding.told}")
        failed += [finding.name] if finding.passed is False else []
    if failed:
        raise InputError(f"{config}: {len(failed)} checks failed: {'; '.join(failed)}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def main(arguments: list[str] | None = None) -> Any:  # noqa: ANN401
    """Run the command line; a user's mistake ends in one message and exit code 1."""
    try:
        return hepml.main(arguments, prog_name="hepml")
    except InputError as error:
        click.echo("\n".join(f"hepml: {line}" for line in str(error).splitlines()), err=True)
        sys.exit(1)
