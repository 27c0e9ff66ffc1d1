"""Subcommands that make ntuples, and columns of them."""

from pathlib import Path

import click

from hepml.options import ExistingFile, ExistingFolder, File, Folder, Stage


@click.command(cls=Stage)
@click.argument("output", type=File)
@click.option("--settings", required=True, help="JSON: process, events, seed, simulation")
def simulate(output: Path, settings: str) -> None:
    """Simulate one ROOT file of jets or of analytic toys."""
    from hepml.config import SimulationJob
    from hepml.configfile import parse
    from hepml.simulation import stage

    stage.simulate(parse(SimulationJob, settings, "--settings"), output)


@click.command(cls=Stage)
@click.argument("source", type=ExistingFile)
@click.argument("output", type=File)
@click.option("--settings", required=True, help="JSON: variation, simulation")
def vary(source: Path, output: Path, settings: str) -> None:
    """Change the particles of simulated jets, and measure the jets again."""
    from hepml.config import VariationJob
    from hepml.configfile import parse
    from hepml.simulation.variations import stage

    stage.vary(parse(VariationJob, settings, "--settings"), source, output)


@click.command(cls=Stage)
@click.argument("files", nargs=-1, required=True)
@click.option("--settings", required=True, help="JSON: name, sample, data, luminosity, folds")
@click.option("--part", is_flag=True, help="of more files than these: merge-data normalises")
@click.option("--output", required=True, type=Folder, help="folder of the columns")
def data(files: tuple[str, ...], settings: str, part: bool, output: Path) -> None:
    """Read the ROOT ntuples of one sample into memory-mappable columns."""
    from hepml.config import DataJob
    from hepml.configfile import parse
    from hepml.data import stage

    make = stage.make_part if part else stage.make_columns
    make(parse(DataJob, settings, "--settings"), files, output)


@click.command(cls=Stage)
@click.argument("parts", nargs=-1, required=True, type=ExistingFolder)
@click.option("--settings", required=True, help="JSON: as for data")
@click.option("--output", required=True, type=Folder, help="folder of the columns")
def merge_data(parts: tuple[Path, ...], settings: str, output: Path) -> None:
    """Join parts of one sample, made by `hepml data --part`, in the order of their files."""
    from hepml.config import DataJob
    from hepml.configfile import parse
    from hepml.data import stage

    stage.merge_parts(parse(DataJob, settings, "--settings"), parts, output)
