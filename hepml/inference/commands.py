"""Subcommands that turn scores, or cuts, into physics."""

from pathlib import Path
from typing import Any

import click

from hepml.errors import InputError
from hepml.options import ExistingFile, ExistingFolder, File, Folder, Stage, varied_options


@click.command(cls=Stage)
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


@click.command(cls=Stage)
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


@click.command(cls=Stage)
@click.argument("data", nargs=-1, required=True, type=ExistingFolder)
@click.option("--sbi", multiple=True, type=ExistingFolder, help="signal and background together")
@click.option("--scores", multiple=True, type=ExistingFile, help="one per sample; none for cuts")
@click.option("--sbi-scores", multiple=True, type=ExistingFile, help="of the networks of SBI")
@click.option("--settings", required=True, help="JSON: as for infer, and interference")
@click.option("--output", required=True, type=File, help="JSON")
def interference(
    data: tuple[Path, ...],
    sbi: tuple[Path, ...],
    scores: tuple[Path, ...],
    sbi_scores: tuple[Path, ...],
    settings: str,
    output: Path,
) -> None:
    """Fit the strength of a signal that interferes with the background.

    Scores are of the samples in DATA and then of those of --sbi.
    """
    from hepml.config import InterferenceJob
    from hepml.configfile import parse
    from hepml.inference.interference import stage

    job = parse(InterferenceJob, settings, "--settings")
    stage.fit_interference(job, data, sbi, (scores, sbi_scores), output)


@click.command(cls=Stage)
@click.argument("result", type=ExistingFile)
@click.option("--workspace", required=True, type=ExistingFile, help="of infer: what is fitted")
@click.option("--toys", required=True, type=click.IntRange(1), help="how many in all parts")
@click.option("--part", default=(0, 1), type=(int, int), help="its number from 0, and of how many")
@click.option("--output", required=True, type=File, help="npz")
def toys(result: Path, workspace: Path, toys: int, part: tuple[int, int], output: Path) -> None:
    """Draw toy data sets of one method, or a part of them."""
    from hepml.inference.toys import stage

    if not 0 <= part[0] < part[1]:
        raise InputError(f"--part: {part[0]} is not one of {part[1]} parts, counted from 0")
    stage.draw_toys(result, workspace, toys, part, output)


@click.command("merge-toys", cls=Stage)
@click.argument("result", type=ExistingFile)
@click.argument("parts", nargs=-1, required=True, type=ExistingFile)
@click.option("--toys", required=True, type=click.IntRange(2), help="how many in all parts")
@click.option("--output", required=True, type=File, help="JSON")
def merge_toys(result: Path, parts: tuple[Path, ...], toys: int, output: Path) -> None:
    """Turn the toys of one method into significances without asymptotic formulae."""
    from hepml.inference.toys import stage

    stage.merge_toys(result, parts, toys, output)


@click.command(cls=Stage, made=("comparison.json", "comparison.csv", "comparison.md"))
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
