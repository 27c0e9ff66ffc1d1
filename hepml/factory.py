"""A user's own Python function that makes a network: found and looked at without running it."""

import ast
import importlib.util
import symtable
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path

from hepml.errors import InputError, nearest


@dataclass(frozen=True)
class Place:
    """Where a function is defined.

    Attributes:
        file: Python source.
        function: its name.
        module: dotted name of an installed module; empty for a file of its own.
    """

    file: Path
    function: str
    module: str


def locate(factory: str) -> Place:
    """Find the function that a config names, without importing anything.

    Args:
        factory: ``file.py:function``, the file relative to the working folder; or
            ``module:function``, which is ``module.py`` in the working folder if there is such a
            file, else an installed module.

    Raises:
        InputError: if there is no such file or module, it is no Python, or it defines no such
            function.
    """
    module, _, function = factory.rpartition(":")
    is_file = module.endswith(".py")
    file = Path(module) if is_file else Path(*module.split(".")).with_suffix(".py")
    if file.is_file():
        return _checked(Place(file, function, ""), factory)
    found = None if is_file else _installed(module)
    if found is None:
        files = [str(path) for path in sorted(file.parent.glob("*.py"))]
        also = "" if is_file else f", and no installed module {module}"
        raise InputError(
            f"{factory}: there is no file {file} in {Path.cwd()}{also}; {nearest(str(file), files)}"
        )
    return _checked(Place(found, function, module), factory)


def _installed(module: str) -> Path | None:
    """Source of an installed module; the packages it lies in are not imported."""
    top, *inner = module.split(".")
    spec = importlib.util.find_spec(top) if top else None
    for part in inner:
        if spec is None:
            break
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    source = spec.origin if spec is not None else None
    return Path(source) if source and source.endswith(".py") else None


def _checked(place: Place, factory: str) -> Place:
    """Raise InputError unless the file is Python and has the function at its top level."""
    try:
        source = place.file.read_text(encoding="utf-8")
        names = symtable.symtable(source, str(place.file), "exec").get_symbols()
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        raise InputError(f"{factory}: {place.file}{line} is no Python: {error}") from None
    known = [name.get_name() for name in names if name.is_assigned() or name.is_imported()]
    if place.function not in known and not _imports_everything(source):
        there = nearest(place.function, known)
        raise InputError(f"{factory}: {place.file} defines no {place.function!r} ({there})")
    return place


def _imports_everything(source: str) -> bool:
    """Whether names come by ``from module import *``, so that they are known only when it runs."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    return any(alias.name == "*" for node in nodes for alias in node.names)
