"""What made each file: a record beside it, written by the command that wrote the file.

The record of ``folder/name`` is ``folder/.made/name.json``. The workflow neither declares nor needs
it: it is for people who ask where a number comes from (:mod:`hepml.explain`).
"""

import hashlib
import json
import re
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepml.artifacts import sha256, write_json
from hepml.provenance import software

FOLDER = ".made"
# what only reads the command line changes no result
_NO_RESULT = re.compile(r"hepml(\.cli|\.options|\.records|\.explain|.*\.commands)?")


@dataclass(frozen=True)
class Run:
    """A finished run of a command."""

    command: str
    settings: object
    options: dict[str, Any]
    inputs: Sequence[Path | str]
    started: str
    seconds: float


def write_records(run: Run, outputs: Sequence[Path]) -> None:
    """Write the records of all files and folders that a run made.

    Args:
        run: of the command; inputs that are text are read over the network and have no digest.
        outputs: files and folders that exist.
    """
    common = {
        "command": run.command,
        "started": run.started,
        "seconds": run.seconds,
        "host": socket.gethostname(),
        "software": software(),
        "code": loaded_code(),
        "settings": run.settings,
        "options": run.options,
        "inputs": [_input(path) for path in run.inputs],
    }
    for output in outputs:
        content = {"sha256": digest(output), "files": _state(output)}
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


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and digests of all files in a folder.

    What its record knows of a file whose size and time are the same is not read again.
    """
    found = read_record(path)
    if found and found[0] == path and found[1].get("files") == _state(path):
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
        return {"file": path, "sha256": None}
    return {"file": str(path), "sha256": digest(path)}


def _place(path: Path) -> Path:
    return path.parent / FOLDER / f"{path.name}.json"


def _files(path: Path) -> list[Path]:
    """A file, or all files in a folder but what Snakemake leaves there."""
    if path.is_file():
        return [path]
    files = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in files if not file.name.startswith(".snakemake"))


def _state(path: Path) -> list[list[object]]:
    """Name, size and time of each file: what tells at a glance whether anything changed."""
    states = [(file, file.stat()) for file in _files(path)]
    return [[file.name, state.st_size, state.st_mtime_ns] for file, state in states]
