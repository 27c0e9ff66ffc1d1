"""One subcommand per stage: paths in and out, settings as JSON. Each rule is one such call."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from hepml.commands import data, merge_data, simulate, vary
from hepml.errors import InputError, InterruptedTrainingError, storage_trouble
from hepml.inference.commands import compare, diagnose, infer, interference, merge_toys, toys
from hepml.options import (
    ExistingFile,
    ExistingFolder,
    File,
    Folder,
    StageGroup,
    checkpoint_option,
    device_option,
    factory_option,
)
from hepml.plots.commands import plot


class _Stages(StageGroup):
    """Lists the stages in the order data flows through them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=_Stages, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hepml-workflow")
def hepml() -> None:
    """From ROOT ntuples to a comparison of networks with a cut-based selection.

    Each stage reads files and writes files; the workflow calls them in turn, and so can you.
    """


for first in (simulate, vary, data, merge_data):
    hepml.add_command(first)


@hepml.command()
@click.argument("data", nargs=-1, required=True, type=ExistingFolder)
@click.option("--settings", required=True, help="JSON: model, folds, seed")
@click.option("--fold", required=True, type=int, help="tested on, so never trained on")
@device_option
@checkpoint_option
@click.option("--output", required=True, type=Folder, help="folder of the network")
def train(
    data: tuple[Path, ...],
    settings: str,
    fold: int,
    device: Any,  # noqa: ANN401
    checkpoint_minutes: float,
    output: Path,
) -> None:
    """Train one network on all folds but one, or go on where an earlier call was stopped.

    Under torchrun in several processes together: docs/training.md.
    """
    from hepml.config import TrainingJob
    from hepml.configfile import parse
    from hepml.training.parallel import ALONE, World
    from hepml.training.resume import resumable
    from hepml.training.stage import train_task
    from hepml.training.task import prepare

    job = parse(TrainingJob, settings, "--settings")
    world: World = click.get_current_context().obj or ALONE
    say = _say if world.first else _keep_silent
    with resumable(output, checkpoint_minutes, say, world) as checkpoints:
        task = prepare(job, data, fold, device, output.parent, world)
        train_task(task, output, say, checkpoints)
    if not world.first:
        sys.exit()  # without a record of what made the output: the first process writes it


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


for command in (infer, diagnose, interference, toys, merge_toys, compare, plot):
    hepml.add_command(command)


@hepml.command()
@click.option("--comparison", required=True, type=ExistingFile)
@click.option("--provenance", required=True, type=ExistingFile)
@click.option("--results", multiple=True, required=True, type=ExistingFile, help="inference/*.json")
@click.option("--diagnostics", multiple=True, type=ExistingFile, help="inference/*.closure.json")
@click.option("--interfering", multiple=True, type=ExistingFile, help="interference/*.json")
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
@click.argument("data", nargs=-1, type=ExistingFolder)
@click.option("--own", multiple=True, type=ExistingFile, help="file of an own network")
@click.option("--settings", required=True, help="JSON: the whole analysis")
@click.option("--output", required=True, type=File, help="JSON")
def provenance(data: tuple[Path, ...], own: tuple[Path, ...], settings: str, output: Path) -> None:
    """Record versions, commit, settings and checksums of ntuples and own networks."""
    import json

    from hepml.artifacts import write_json
    from hepml.records import provenance as record

    write_json(output, record(data, own, json.loads(settings)))


@hepml.command(cls=click.Command)
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


@hepml.command(cls=click.Command)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--config",
    type=File,
    default="config/config.yaml",
    show_default=True,
    help="what to compare with",
)
@click.option("--json", "as_json", is_flag=True, help="print the whole record")
def explain(file: Path, config: Path, as_json: bool) -> None:
    """Say what made a file, and what of that differs today, back to the ntuples."""
    import json

    from hepml.configfile import load
    from hepml.explain import explain as account_of
    from hepml.explain import told

    analysis = load(config) if config.is_file() or _given("config") else None
    account = account_of(file, analysis)
    if as_json:
        click.echo(json.dumps(account.record, indent=1, ensure_ascii=False))
        return
    for line in told(account, str(config)):
        click.echo(line)


@hepml.command(cls=click.Command)
@click.option("--json", "schema", required=True, type=File, help="JSON schema to write")
@click.option("--page", required=True, type=File, help="Markdown page to write")
def schema(schema: Path, page: Path) -> None:
    """Write the documentation of the config: JSON schema and a page of all keys."""
    from hepml import reference

    schema.write_text(reference.schema(), encoding="utf-8")
    page.write_text(reference.page(), encoding="utf-8")


def _given(option: str) -> bool:
    """Whether the user gave an option of this command."""
    source = click.get_current_context().get_parameter_source(option)
    return source is not click.core.ParameterSource.DEFAULT


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


def _keep_silent(line: str) -> None:
    """As one of several processes, of which the first one speaks."""


def _world() -> AbstractContextManager[Any]:
    """The processes that torchrun started, if it did."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return nullcontext()
    from hepml.training.parallel import joined

    return joined()


def main(arguments: list[str] | None = None) -> Any:  # noqa: ANN401
    """Run the command line; a user's mistake, or a full disk, ends in one message and code 1."""
    try:
        with _world() as world:
            return hepml.main(arguments, prog_name="hepml", obj=world)
    except InterruptedTrainingError as interrupted:
        click.echo(f"hepml: {interrupted}", err=True)
        sys.exit(os.EX_TEMPFAIL)
    except InputError as error:
        message = str(error)
    except Exception as error:
        trouble = storage_trouble(error)
        if trouble is None:
            raise
        message = trouble
    click.echo("\n".join(f"hepml: {line}" for line in message.splitlines()), err=True)
    sys.exit(1)
