"""Read config files: YAML without its traps, sample tables, every problem at once."""

import csv
import glob
import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from hepml.config import Analysis, DataJob, InferenceJob, Settings, SimulationJob, TrainingJob
from hepml.errors import InputError

AnySettings = TypeVar("AnySettings", bound=Settings)


class _StrictLoader(yaml.SafeLoader):
    """Plain data only, and a key given twice is an error: YAML itself lets the last one win."""


def _mapping_without_duplicates(loader: _StrictLoader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        key = str(key_node.value)
        line = key_node.start_mark.line + 1
        if key in seen and key != "<<":
            raise InputError(
                f"{key_node.start_mark.name}: key {key!r} stands twice, in lines {seen[key]} and "
                f"{line}; keep one"
            )
        seen[key] = line
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping_without_duplicates)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; duplicate keys, other tags and syntax errors are refused.

    Raises:
        InputError: naming file and line.
    """
    try:
        with path.open(encoding="utf-8") as file:
            content = yaml.load(file, Loader=_StrictLoader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected keys and values, got {type(content).__name__}")
    return content


def load(path: Path) -> Analysis:
    """Read an analysis from one YAML file.

    Raises:
        InputError: naming every wrong key at once.
    """
    return analysis(read_yaml(path), str(path))


def from_workflow(content: dict[str, Any], files: Sequence[str | Path]) -> Analysis:
    """Validate what Snakemake collected from config files and ``--config``.

    Args:
        content: Snakemake's ``config``.
        files: config files it came from; read again, because Snakemake's YAML reader lets
            duplicate keys pass.

    Raises:
        InputError: naming every wrong key at once.
    """
    for file in files:
        read_yaml(Path(file))
    return analysis(content, " + ".join(map(str, files)) or "--config")


def analysis(content: dict[str, Any], source: str) -> Analysis:
    """Validate the content of a config file.

    Args:
        content: what YAML gave; ``samples`` may be the path of a sample table.
        source: what to call it in messages.

    Raises:
        InputError: naming every wrong key at once, one per line.
    """
    if isinstance(content.get("samples"), str):
        content = content | {"samples": read_samples(Path(content["samples"]))}
    return parse(Analysis, json.dumps(content), source)


def parse(model: type[AnySettings], text: str, source: str) -> AnySettings:
    """Read settings from JSON text.

    Args:
        model: which settings.
        text: JSON.
        source: what to call it in messages: a file or an option.

    Raises:
        InputError: naming every wrong key at once, one per line.
    """
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        problems = [_describe(dict(problem), source) for problem in error.errors()]
        raise InputError("\n".join(problems)) from None


def _describe(problem: dict[str, Any], source: str) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    got = problem.get("input")
    if problem["type"] == "missing":
        return f"{source}: {where}: this key is required"
    if problem["type"] == "extra_forbidden":
        return f"{source}: {where}: unknown key; remove it or mend its name"
    shown = "" if isinstance(got, dict | list) or got is None else f" (got {got!r})"
    return f"{source}: {where or 'as a whole'}: {message}{shown}"


def read_samples(path: Path) -> dict[str, dict[str, Any]]:
    """Read a sample table: tab-separated, one row per sample, columns as the keys of a sample.

    Empty cells are keys not given; several files are separated by blanks. Lines that start with
    ``#`` are comments.

    Raises:
        InputError: if the file is absent, has no ``name`` column or names a sample twice.
    """
    if not path.is_file():
        raise InputError(
            f"{path}: no such sample table (key samples; relative to the folder you run in)"
        )
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = list(csv.DictReader((x for x in lines if not x.startswith("#")), delimiter="\t"))
    if not rows or "name" not in rows[0]:
        raise InputError(f"{path}: expected a header with a column 'name' and tab-separated rows")
    samples: dict[str, dict[str, Any]] = {}
    for row in rows:
        name = (row.pop("name") or "").strip()
        if name in samples:
            raise InputError(f"{path}: two samples are named {name!r}; rename one")
        samples[name] = _sample_from_row(row, f"{path}: sample {name!r}")
    return samples


def _sample_from_row(row: dict[str | Any, Any], source: str) -> dict[str, Any]:
    if None in row or None in row.values():
        raise InputError(f"{source}: the row has not as many cells as the header; use tabs")
    cells = {key: value.strip() for key, value in row.items() if value.strip()}
    sample: dict[str, Any] = dict(cells)
    if "files" in cells:
        sample["files"] = cells["files"].split()
    if "events" in cells:
        try:
            sample["events"] = int(cells["events"])
        except ValueError:
            raise InputError(
                f"{source}: events: {cells['events']!r} is not a whole number"
            ) from None
    return sample


def is_remote(path: str) -> bool:
    """Whether a file is read over the network: ``root://``, ``https://`` and so on."""
    return "://" in path


def local_files(settings: Analysis, name: str) -> list[str]:
    """Files on disk that the patterns of a sample match, sorted within each pattern.

    Raises:
        InputError: if a pattern matches nothing.
    """
    files: list[str] = []
    for pattern in settings.samples[name].files:
        if is_remote(pattern):
            continue
        found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 (patterns may be absolute)
        if not found:
            raise InputError(
                f"samples.{name}.files: no file matches {pattern!r} (relative to {Path.cwd()})"
            )
        files += found
    return files


def remote_files(settings: Analysis, name: str) -> list[str]:
    """Files of a sample that are read over the network."""
    return [path for path in settings.samples[name].files if is_remote(path)]


def data_job(settings: Analysis, name: str) -> DataJob:
    """Settings of the data stage for one sample, without what cannot change its result."""
    # where files lie and how many are simulated shows in the inputs of the job
    sample = settings.samples[name]
    return DataJob(
        name=name,
        sample=sample,
        data=settings.data,
        luminosity=settings.luminosity,
        folds=settings.folds,
    )


def simulation_job(settings: Analysis, name: str, chunk: int) -> SimulationJob:
    """Settings of the simulation of file number ``chunk`` of one sample."""
    sample = settings.samples[name]
    if sample.process is None or sample.events is None:
        raise InputError(f"samples.{name}: has files and is not simulated")
    per_file = settings.simulation.events_per_file
    return SimulationJob(
        process=sample.process,
        events=min(per_file, sample.events - chunk * per_file),
        seed=_seed(settings.seed, name, chunk),
        simulation=settings.simulation,
    )


def simulated_chunks(settings: Analysis, name: str) -> int:
    """How many files a simulated sample is scattered over; 0 if it is read from files."""
    return -(-(settings.samples[name].events or 0) // settings.simulation.events_per_file)


def training_job(settings: Analysis, model: str) -> TrainingJob:
    """Settings of the training of one model, the same for all folds."""
    network = settings.models[model].model_copy(update={"title": ""})  # cannot change a result
    return TrainingJob(model=network, folds=settings.folds, seed=settings.seed)


def inference_job(settings: Analysis, method: str) -> InferenceJob:
    """Settings of the inference for ``cuts`` or one model."""
    return InferenceJob(
        method=method,
        title=title(settings, method),
        cuts=settings.cuts if method == "cuts" else (),
        inference=settings.inference,
        folds=settings.folds,
        seed=settings.seed,
    )


def title(settings: Analysis, method: str) -> str:
    """What a method is called in tables and figures."""
    return "Cuts" if method == "cuts" else settings.models[method].title or method


def caption(settings: Analysis) -> str:
    """What stands above the axes of every figure, as JSON."""
    return json.dumps(
        {
            "title": settings.title,
            "heading": settings.plots.heading,
            "luminosity": settings.luminosity,
        }
    )


def _seed(seed: int, name: str, chunk: int) -> int:
    """One seed per file in 1..900,000,000, the range that Pythia takes."""
    digest = sha256(f"{seed}/{name}/{chunk}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % 900_000_000 + 1
