"""Kinds of parameters that several subcommands have."""

from pathlib import Path
from typing import Any

import click

Folder = click.Path(path_type=Path, file_okay=False)
File = click.Path(path_type=Path, dir_okay=False)
ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)
ExistingFile = click.Path(path_type=Path, exists=True, dir_okay=False)


def _device(context: click.Context, option: click.Parameter, name: str) -> Any:  # noqa: ANN401, ARG001
    from hepml.training.device import choose_device

    return choose_device(name)


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    callback=_device,
    envvar="HEPML_DEVICE",
    show_envvar=True,
    help="auto: a GPU if there is one; cuda: an error if there is none",
)
