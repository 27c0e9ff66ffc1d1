"""Kinds of parameters that several subcommands have."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from hepml.errors import InputError

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


def _factory(context: click.Context, option: click.Parameter, name: str | None) -> Any:  # noqa: ANN401, ARG001
    if name is None:
        return None
    from hepml.models.own import import_factory

    return import_factory(name)


factory_option = click.option(
    "--factory",
    callback=_factory,
    help="file.py:function that makes a user's own network: the file is run",
)


def runtime_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --device and --factory, which the command gets as one ``runtime``."""

    @device_option
    @factory_option
    @wraps(command)
    def wrapped(device: Any, factory: Any, **others: Any) -> None:  # noqa: ANN401
        from hepml.training.device import Runtime

        command(runtime=Runtime(device, factory), **others)

    return wrapped


def varied_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --varied and --varied-scores, which the command gets as one ``varied``."""

    @click.option(
        "--varied",
        "folders",
        multiple=True,
        type=(str, click.IntRange(min=0), ExistingFolder),
        help="VARIATION, number of the sample in DATA from 0, folder of its varied columns",
    )
    @click.option(
        "--varied-scores",
        "files",
        multiple=True,
        type=(str, click.IntRange(min=0), ExistingFile),
        help="VARIATION, number of the sample, its scores; none for cuts",
    )
    @wraps(command)
    def wrapped(
        folders: tuple[tuple[str, int, Path], ...],
        files: tuple[tuple[str, int, Path], ...],
        **others: Any,  # noqa: ANN401
    ) -> None:
        command(varied=_paired(folders, files), **others)

    return wrapped


def _paired(
    folders: tuple[tuple[str, int, Path], ...], files: tuple[tuple[str, int, Path], ...]
) -> Any:  # noqa: ANN401
    from hepml.inference.varied import Varied

    scores = {(variation, sample): path for variation, sample, path in files}
    found = [Varied(v, sample, path, scores.pop((v, sample), None)) for v, sample, path in folders]
    if scores:
        names = ", ".join(f"{variation} of sample {sample}" for variation, sample in scores)
        raise InputError(f"--varied-scores: {names}: give the data with --varied too")
    return tuple(found)
