"""YAML and sample tables, without their traps."""

import csv
from pathlib import Path
from typing import Any

import yaml

from hepml.errors import InputError


class _StrictLoader(yaml.SafeLoader):
    """Plain data only; a key given twice is noted: YAML itself lets the last one win."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401
        super().__init__(stream)
        self.problems: list[str] = []


def _checked_mapping(loader: _StrictLoader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: dict[str, int] = {}
    for key_node, _ in node.value:
        where, line = key_node.start_mark.name, key_node.start_mark.line + 1
        if key_node.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
            shown = key_node.value if isinstance(key_node, yaml.ScalarNode) else "a list or mapping"
            loader.problems.append(f"{where}: line {line}: the key {shown} is not text; quote it")
            return {}
        key = str(key_node.value)
        if key in seen and key != "<<":
            loader.problems.append(
                f"{where}: key {key!r} stands twice, in lines {seen[key]} and {line}; keep one"
            )
        seen[key] = line
    loader.flatten_mapping(node)
    return dict(loader.construct_pairs(node, deep=True))


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _checked_mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping; duplicate keys, other tags and syntax errors are refused.

    Raises:
        InputError: naming file and line.
    """
    try:
        loader = _StrictLoader(path.read_text(encoding="utf-8"))
        loader.name = str(path)
        content = loader.get_single_data()
    except FileNotFoundError:
        raise InputError(f"{path}: no such config file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    if loader.problems:
        raise InputError("\n".join(loader.problems))
    if not isinstance(content, dict):
        kind = "nothing" if content is None else "a list or a single value"
        raise InputError(f"{path}: expected keys and values, got {kind}")
    return content


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
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as text: {error}") from None
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    header = lines[0].split("\t") if lines else []
    if "name" not in header or len(lines) < 2:
        raise InputError(f"{path}: expected a header with a column 'name' and tab-separated rows")
    problems = [f"{path}: column {c!r} stands twice" for c in header if header.count(c) > 1]
    samples: dict[str, dict[str, Any]] = {}
    for row in csv.DictReader(lines, delimiter="\t"):
        name = (row.pop("name") or "").strip()
        if name in samples:
            problems.append(f"{path}: two samples are named {name!r}; rename one")
        try:
            samples[name] = _sample_from_row(row, f"{path}: sample {name!r}")
        except InputError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(dict.fromkeys(problems)))
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
