"""What made each file: a record beside it, written by the command that wrote the file.

The record of ``folder/name`` is ``folder/.made/name.json``. The workflow neither declares nor needs
it: it is for people who ask where a number comes from (:mod:`hepml.explain`).
"""

import hashlib
import json
import re
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepml.artifacts import sha256, write_json
from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.provenance import software

FOLDER = ".made"
PARTS = ".parts"  # ending of a folder of parts of columns
# what only reads the command line changes no result
_NO_RESULT = re.compile(r"hepml(\.cli|\.options|\.records|\.explain|.*\.commands)?")


@dataclass(frozen=True)
class Run:
    """A finished run of a command.

    Attributes:
        inputs: files and folders, and text for what is read over the network, each with its state
            before the run (:func:`state`).
    """

    command: str
    settings: object
    options: dict[str, Any]
    inputs: Mapping[Path | str, object]
    started: str
    seconds: float


def write_records(run: Run, outputs: Sequence[Path]) -> None:
    """Write the records of all files and folders that a run made.

    Args:
        run: of the command; what is read over the network has no digest.
        outputs: files and folders that exist.

    Raises:
        InputError: if an input is not what it was before the run; nothing is written then.
    """
    _require_same(run)
    inputs = [_input(path) for path in run.inputs]
    _require_same(run)  # the digests are of what was read
    common = {
        "command": run.command,
        "started": run.started,
        "seconds": run.seconds,
        "host": socket.gethostname(),
        "software": software(),
        "code": loaded_code(),
        "settings": run.settings,
        "options": run.options,
        "inputs": inputs,
    }
    for output in outputs:
        content = {"sha256": digest(output), "files": state(output)}
        write_json(_place(output), content | common)


def read_record(path: Path) -> tuple[Path, dict[str, Any]] | None:
    """The record of a file, or of the folder that it lies in, and what the record is of.

    Returns:
        None if nothing recorded how it was made, or the record is no JSON.
    """
    for made in (path, *path.parents):
        place = _place(made)
        if made.name and place.is_file():
            try:
                return made, json.loads(place.read_text(encoding="utf-8"))
            except ValueError:
                return None
    return None


def provenance(
    columns: Sequence[Path], own: Sequence[Path], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """What a result was made from: software, settings, SHA-256 of each file that came from outside.

    Args:
        columns: folders from the data stage. What their records say was read is not read again.
        own: files of own networks.
        settings: of the whole analysis.

    Raises:
        InputError: if a folder is not complete.
    """
    inputs: dict[str, dict[str, Any]] = {}
    for folder in columns:
        read = {str(each["file"]): each for each in _ntuples(folder)}
        for file in open_columns(folder).metadata["files"]:
            path = file if "://" in file else Path(file)
            inputs.setdefault(file, read.get(file) or _input(path))
    inputs |= {str(path): _input(path) for path in own}
    return {"software": software(), "settings": settings, "inputs": list(inputs.values())}


def _ntuples(columns: Path) -> Iterator[dict[str, Any]]:
    """Files that a folder of columns, or its parts, were read from, as they were then."""
    found = read_record(columns)
    if found is None or found[0] != columns:
        return
    if columns.exists() and digest(columns) != found[1]["sha256"]:
        return  # made again since, and nothing recorded how
    for each in found[1]["inputs"]:
        if part_record(each):
            yield from _ntuples(Path(each["file"]))
        else:
            yield each


def part_record(given: Mapping[str, Any]) -> bool:
    """Whether an input is a part of columns whose record is of the same content.

    The part itself may be gone: it is there to spare reading it again.
    """
    path = Path(given["file"])
    found = read_record(path) if path.parent.suffix == PARTS else None
    return found is not None and found[0] == path and found[1]["sha256"] == given["sha256"]


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files in a folder.

    What its record knows of a file whose size and time are the same is not read again.
    """
    found = read_record(path)
    if found and found[0] == path and found[1].get("files") == state(path):
        return str(found[1]["sha256"])
    if path.is_file():
        return sha256(path)
    whole = hashlib.sha256()
    for file in _files(path):
        whole.update(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n".encode())
    return whole.hexdigest()


def loaded_code() -> dict[str, str]:
    """Digest of each module of hepml that this process has imported."""
    modules = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    return {
        name: source_digest(Path(file))
        for name, file in sorted(modules.items())
        if name.split(".")[0] == "hepml" and file and not _NO_RESULT.fullmatch(name)
    }


def source_digest(file: Path) -> str:
    """First 16 hexadecimal digits of the SHA-256 of a source file."""
    return sha256(file)[:16]


def _input(path: Path | str) -> dict[str, object]:
    if isinstance(path, str):
        return {"file": path, "bytes": None, "sha256": None}
    size = sum(file.stat().st_size for file in _files(path))
    return {"file": str(path), "bytes": size, "sha256": digest(path)}


def _require_same(run: Run) -> None:
    changed = [str(path) for path, before in run.inputs.items() if state(path) != before]
    if changed:
        raise InputError(
            f"{', '.join(changed)}: changed, or gone, while `hepml {run.command}` ran; what was "
            "made of it is not kept: run again when it is whole"
        )


def _place(path: Path) -> Path:
    return path.parent / FOLDER / f"{path.name}.json"


def _files(path: Path) -> list[Path]:
    """A file, or all files in a folder but what Snakemake leaves there."""
    if path.is_file():
        return [path]
    files = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in files if not file.name.startswith(".snakemake"))


def state(path: Path | str) -> list[list[object]] | None:
    """Name, size and time of each file: what tells at a glance whether anything changed.

    Returns:
        None of what is not there, and of text, which is read over the network.
    """
    if isinstance(path, str) or not path.exists():
        return None
    known = [(file, file.stat()) for file in _files(path)]
    return [[file.name, status.st_size, status.st_mtime_ns] for file, status in known]
