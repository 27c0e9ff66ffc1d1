"""Files that are either complete or absent: written under another name, then renamed."""

import hashlib
import json
import math
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path`` and move it there when the block ends well.

    If the block raises, the temporary file is removed and ``path`` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # the suffix stays: writers such as matplotlib choose the format by it
    temporary = path.with_name(f".{path.stem}.{_writer()}{path.suffix}")
    try:
        yield temporary
        _to_disk(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside ``path`` and move it there when the block ends well.

    An older folder at ``path`` is replaced; if the block raises, it stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{_writer()}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir()
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _to_disk(file)
        shutil.rmtree(path, ignore_errors=True)
        temporary.replace(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file or a whole folder."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def _writer() -> str:
    """This process, among all nodes that write to a shared folder."""
    return f"{socket.gethostname()}.{os.getpid()}"


def _to_disk(path: Path) -> None:
    """Wait until a file is on the disk: where a node dies, a name must not outlive its content."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def write_json(path: Path, content: object) -> None:
    """Write ``content`` as indented JSON, whole or not at all.

    Raises:
        ValueError: if a number is NaN or infinite; the message names where it stands.
    """
    broken = _not_finite(content, "")
    if broken:
        raise ValueError(f"{path.name}: not a finite number at {', '.join(broken[:5])}")
    with new_file(path) as temporary:
        text = json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _not_finite(content: object, where: str) -> list[str]:
    """Key paths of all numbers in nested dicts and lists that are NaN or infinite."""
    if isinstance(content, float) and not math.isfinite(content):
        return [where or "the top"]
    if isinstance(content, dict):
        return [p for key, value in content.items() for p in _not_finite(value, f"{where}.{key}")]
    if isinstance(content, list | tuple):
        return [p for i, value in enumerate(content) for p in _not_finite(value, f"{where}[{i}]")]
    return []
