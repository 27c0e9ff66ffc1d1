"""From config files to validated settings, every problem at once, and to the jobs of each stage."""

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from hepml.config import (
    Analysis,
    DataJob,
    Settings,
)
from hepml.errors import InputError
from hepml.jobs import factory_problems
from hepml.plaintext import read_samples, read_yaml
from hepml.variations import all_jobs

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
    given: dict[str, Any] = {}
    for file in files:
        given = _merged(given, read_yaml(Path(file)))
    return analysis(_typed(content, given), " + ".join(map(str, files)) or "--config")


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Nested mappings, of which the new one wins, as Snakemake merges config files."""
    both = {
        key: _merged(old[key], new[key])
        for key in old.keys() & new.keys()
        if isinstance(old[key], dict) and isinstance(new[key], dict)
    }
    return old | new | both


def _typed(content: Any, given: Any) -> Any:  # noqa: ANN401
    """Numbers and truth values as such that --config gave as text; nested ones always are.

    Args:
        content: what Snakemake collected.
        given: what the config files say, which keeps its types.
    """
    if isinstance(content, dict):
        inside = given if isinstance(given, dict) else {}
        return {key: _typed(value, inside.get(key)) for key, value in content.items()}
    if isinstance(content, str) and content != given:
        number = yaml.safe_load(content) if re.fullmatch(r"[\w.+-]+", content) else content
        return number if isinstance(number, bool | int | float) else content
    return content


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
        Jobs of those samples that are valid, even if other parts are not, and of their changed
        copies if all is valid; and one message per problem of the config and of the files of own
        networks, which are not run.

    Raises:
        InputError: if the file holds no YAML to go on with.
    """
    content, source = read_yaml(path), str(path)
    try:
        settings = analysis(content, source)
        return all_jobs(settings), factory_problems(settings)
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
        others = _known_keys() - {keys[-1]}  # it may be a key elsewhere
        close = get_close_matches(keys[-1], sorted(others), n=1, cutoff=0.7)
        return f"{where}: unknown key; " + (
            f"did you mean {close[0]!r}?" if close else "remove it or mend its name"
        )
    if kind == "string_pattern_mismatch":
        return f"{where}: a name is a letter, then letters, digits and _ (got {got!r})"
    message = str(problem["msg"]).removeprefix("Value error, ")
    message = message.replace("valid array", "list").replace("an object", "keys and values")
    if kind == "no_such_network" and isinstance(got, dict):
        keys = [key for key in ("architecture", "factory", "inputs") if key in got]
        given = ", ".join(f"{key}: {got[key]}" for key in keys)
        return f"{where}: {message} (got {given or 'none of them'})"
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
