"""From config files to validated settings, every problem at once, and to the jobs of each stage."""

import glob
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from hepml.config import (
    Analysis,
    DataJob,
    InferenceJob,
    Sample,
    Settings,
    SimulationJob,
    TrainingJob,
)
from hepml.errors import InputError
from hepml.plaintext import read_samples, read_yaml

AnySettings = TypeVar("AnySettings", bound=Settings)


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
    return parse(Analysis, _json(content), source)


def data_jobs(path: Path) -> tuple[list[DataJob], list[str]]:
    """Read a config for checking.

    Args:
        path: of the config.

    Returns:
        Jobs of those samples that are valid, even if other parts are not, and one message per
        problem of the config.

    Raises:
        InputError: if the file holds no YAML to go on with.
    """
    content, source = read_yaml(path), str(path)
    try:
        settings = analysis(content, source)
        return [data_job(settings, name) for name in settings.samples], []
    except InputError as error:
        problems = str(error).splitlines()
    jobs = []
    with suppress(InputError):  # what is wrong was said above
        samples = content.get("samples")
        samples = read_samples(Path(samples)) if isinstance(samples, str) else samples
        common = {"data": content.get("data"), "luminosity": 1, "folds": 5}
        for name, sample in samples.items() if isinstance(samples, dict) else ():
            with suppress(InputError):
                job = common | {"name": name, "sample": sample}
                jobs.append(parse(DataJob, _json(job), source))
    return jobs, problems


def _json(content: object) -> str:
    return json.dumps(content, default=str)  # dates become text


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
        found = [dict(problem) for problem in error.errors()]
    content = None if found[0]["type"] == "json_invalid" else json.loads(text)
    problems = [_describe(problem, content, source) for problem in found]
    raise InputError("\n".join(problem for problem in problems if problem))


def _describe(problem: dict[str, Any], content: object, source: str) -> str:
    """One line on one problem; empty if it is about a form of the key that is not meant."""
    kind, got = problem["type"], problem.get("input")
    keys = _keys(problem["loc"], content)
    where = ": ".join(filter(None, (source, ".".join(keys))))
    if len(keys) < len(problem["loc"]) and (
        kind == "model_type" or (kind == "string_type" and isinstance(got, dict))
    ):
        return ""
    if kind == "missing":
        return f"{where}: this key is required"
    if kind == "extra_forbidden":
        close = get_close_matches(keys[-1], _known_keys(), n=1, cutoff=0.7)
        return f"{where}: unknown key; " + (
            f"did you mean {close[0]!r}?" if close else "remove it or mend its name"
        )
    if kind == "string_pattern_mismatch":
        return f"{where}: a name is a letter, then letters, digits and _ (got {got!r})"
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message.replace("valid array", "list").replace("an object", "keys and values")
    shown = "" if isinstance(got, dict | list) or got is None else f" (got {got!r})"
    return f"{where}: {message}{shown}"


def _keys(location: Sequence[str | int], content: object) -> list[str]:
    """Keys that lead to a problem, without the forms that were tried on the way."""
    keys = []
    for number, part in enumerate(location, start=1):
        inside = content if isinstance(content, dict) else {}
        if part in inside:
            content = inside[part]
        elif isinstance(part, int) and isinstance(content, list) and part < len(content):
            content = content[part]
        elif number < len(location) or part not in _known_keys():
            continue
        keys.append(str(part))
    return keys


@cache
def _known_keys() -> frozenset[str]:
    """Every key that some part of the settings has."""
    waiting, known = [Settings], set[str]()
    while waiting:
        model = waiting.pop()
        waiting += model.__subclasses__()
        known |= {field.alias or name for name, field in model.model_fields.items()}
    return frozenset(known)


def is_remote(path: str) -> bool:
    """Whether a file is read over the network: ``root://``, ``https://`` and so on."""
    return "://" in path


def matching_files(name: str, sample: Sample) -> list[str]:
    """Files that the patterns of a sample match, sorted within each pattern, and URLs as they are.

    Raises:
        InputError: if a pattern matches nothing, or two match the same file.
    """
    files: list[str] = []
    problems = []
    for pattern in sample.files:
        # patterns may be absolute, which pathlib's glob does not take
        found = [pattern] if is_remote(pattern) else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not found:
            problems.append(
                f"samples.{name}.files: no file matches {pattern!r} (relative to {Path.cwd()})"
            )
        files += found
    problems += [
        f"samples.{name}.files: {file!r} is matched twice; its events would count twice"
        for file in given_twice(files)
    ]
    if problems:
        raise InputError("\n".join(problems))
    return files


def given_twice(files: Sequence[str]) -> list[str]:
    """Files that stand in a list more than once, under the same name or another."""
    seen: dict[str, str] = {}
    twice = []
    for file in files:
        true_name = file if is_remote(file) else os.path.realpath(file)
        if true_name in seen:
            twice.append(file)
        seen[true_name] = file
    return list(dict.fromkeys(twice))


def local_files(settings: Analysis, name: str) -> list[str]:
    """Files of a sample on disk, where the patterns match."""
    return [f for f in matching_files(name, settings.samples[name]) if not is_remote(f)]


def remote_files(settings: Analysis, name: str) -> list[str]:
    """Files of a sample that are read over the network."""
    return [path for path in settings.samples[name].files if is_remote(path)]


def data_job(settings: Analysis, name: str) -> DataJob:
    """Settings of the data stage for one sample."""
    return DataJob(
        name=name,
        sample=settings.samples[name],
        data=settings.data,
        luminosity=settings.luminosity,
        folds=settings.folds,
    )


def without_files(sample: Sample) -> Sample:
    """A sample without its list of files, which may be longer than a command line."""
    given = sample.files[:1] + ((f"and {len(sample.files) - 1} more",) if sample.files[1:] else ())
    return sample.model_copy(update={"files": given})


def data_settings(settings: Analysis, name: str) -> str:
    """Settings of one job of the data stage as JSON; its files are named on the command line."""
    job = data_job(settings, name)
    return job.model_copy(update={"sample": without_files(job.sample)}).model_dump_json(
        by_alias=True
    )


def all_settings(settings: Analysis) -> str:
    """The whole analysis as JSON, for the record."""
    samples = {name: without_files(sample) for name, sample in settings.samples.items()}
    return settings.model_copy(update={"samples": samples}).model_dump_json(by_alias=True)


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
