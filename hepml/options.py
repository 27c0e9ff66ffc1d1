"""Kinds of parameters that several subcommands have."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from hepml.artifacts import remove
from hepml.errors import InputError

Folder = click.Path(path_type=Path, file_okay=False)
File = click.Path(path_type=Path, dir_okay=False)
ExistingFolder = click.Path(path_type=Path, exists=True, file_okay=False)
ExistingFile = click.Path(path_type=Path, exists=True, dir_okay=False)


class Stage(click.Command):
    """A command that leaves a record of what made each file (:mod:`hepml.records`).

    Args:
        made: names of the files in its output folder, if that is not wholly its own, or endings
            that follow an output without one.
    """

    def __init__(self, *arguments: Any, made: tuple[str, ...] = (), **others: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **others)
        self._made = made

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401
        """Run the command; then write down what it was."""
        from hepml.records import Run, state, write_records

        started, clock = time.time(), time.monotonic()  # the one may be set back
        inputs = [path for p in self.params if not _is_output(p) for path in _inputs(ctx, p)]
        before = {path: state(path) for path in inputs}
        result = super().invoke(ctx)
        outputs = [path for p in self.params if _is_output(p) for path in self._outputs(ctx, p)]
        outputs = [path for path in outputs if path.exists()]
        path = ctx.command_path.split(" ", 1)[-1]
        run = Run(
            command=path,
            settings=_settings(ctx.params.get("settings")),
            options=_scalars(ctx.params),
            inputs=before,
            started=datetime.fromtimestamp(started, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            seconds=time.monotonic() - clock,
        )
        try:
            write_records(run, outputs)
        except InputError:
            for output in outputs:
                remove(output)
            raise
        except OSError as error:  # the result is whole; only nobody can ask where it came from
            click.echo(f"hepml: no record of what made {outputs[0]}: {error}", err=True)
        return result

    def _outputs(self, ctx: click.Context, parameter: click.Parameter) -> list[Path]:
        path = ctx.params[str(parameter.name)]
        if self._made and self._made[0].startswith("."):
            return [path.with_name(path.name + ending) for ending in self._made]
        return [path / name for name in self._made] or [path]


class StageGroup(click.Group):
    """Commands that leave records."""

    command_class = Stage


def _is_output(parameter: click.Parameter) -> bool:
    return isinstance(parameter.type, click.Path) and not parameter.type.exists


def _inputs(ctx: click.Context, parameter: click.Parameter) -> Iterator[Path | str]:
    """Files and folders that a parameter names; URLs as text."""
    value = ctx.params[str(parameter.name)]
    if parameter.name == "files":  # of the data stage, which may be URLs
        yield from (name if "://" in name else Path(name) for name in map(str, value))
    else:
        yield from _paths(value)


def _paths(value: object) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _paths(each)
    elif isinstance(file := getattr(value, "file", None), Path):  # a user's own network
        yield file


def _settings(text: object) -> object:
    return json.loads(text) if isinstance(text, str) else None


def _scalars(params: Mapping[str, object]) -> dict[str, object]:
    """Options that are numbers or devices: what the settings and the inputs do not tell."""
    given = {n: x for n, x in params.items() if x is not None and x is not False}
    found = {n: str(x) if n == "device" else x for n, x in given.items()}
    return {n: x for n, x in found.items() if n == "device" or isinstance(x, int | float)}


def _device(context: click.Context, option: click.Parameter, name: str) -> Any:  # noqa: ANN401, ARG001
    from hepml.training.device import choose_device

    return choose_device(name, partial(click.echo, err=True))


device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    callback=_device,
    envvar="HEPML_DEVICE",
    show_envvar=True,
    help="auto: a GPU if there is one; cuda: an error if there is none",
)

checkpoint_option = click.option(
    "--checkpoint-minutes",
    type=click.FloatRange(min=0),
    default=10.0,
    show_default=True,
    envvar="HEPML_CHECKPOINT_MINUTES",
    show_envvar=True,
    help="between two checkpoints within an epoch; there is one after each epoch anyway",
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
