"""ROOT files to awkward arrays, with every failure said in one line."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import uproot

from hepml.errors import InputError, nearest

CHUNK = "48 MB"  # of uncompressed branches at a time: what memory holds, whatever a file's size
_TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")
_BROKEN = (OSError, ValueError, EOFError, RuntimeError, IndexError, KeyError, TypeError,
           AssertionError, NotImplementedError, uproot.DeserializationError)  # fmt: skip


@dataclass(frozen=True)
class Tree:
    """An open TTree or RNTuple."""

    file: str
    name: str
    entries: int
    branches: frozenset[str]
    _tree: Any

    def require(self, names: frozenset[str], wanted_by: str) -> None:
        """Check that branches exist.

        Raises:
            InputError: naming every missing branch with the nearest that exist.
        """
        missing = sorted(names - self.branches)
        if missing:
            hints = "; ".join(f"{name!r} ({nearest(name, self.branches)})" for name in missing)
            raise InputError(f"{self.file}: tree {self.name!r} has no branch {hints} [{wanted_by}]")

    def chunks(self, names: frozenset[str]) -> Iterator[tuple[int, ak.Array]]:
        """Read branches chunk by chunk.

        Args:
            names: branches, which must exist.

        Yields:
            Number of the first entry of the chunk, and a record array ``events * {...}``.
        """
        # RNTuples give no field for a name that is missing, so callers go through require()
        wanted = sorted(names)
        with _readable(self.file, f"tree {self.name!r}"):
            step = max(1, self._tree.num_entries_for(CHUNK, filter_name=wanted))
            step = min(step, max(1, self.entries))
        start = 0
        while start < self.entries:
            stop = min(start + step, self.entries)
            with _readable(self.file, f"tree {self.name!r}, entries {start} to {stop - 1}"):
                chunk = self._tree.arrays(
                    filter_name=wanted, entry_start=start, entry_stop=stop, library="ak"
                )
            yield start, chunk
            start = stop

    def total(self, branch: str) -> float:
        """Sum of a branch over all entries, in double precision."""
        names = frozenset({branch})
        self.require(names, "schema.runs")
        chunks = (ak.to_numpy(chunk[branch]) for _, chunk in self.chunks(names))
        return float(sum(np.sum(values, dtype=float) for values in chunks))


@contextmanager
def open_file(path: str) -> Iterator[Any]:
    """Open a ROOT file, local or remote.

    Raises:
        InputError: if it is missing, is no ROOT file or is truncated.
    """
    started = time.monotonic()
    try:
        file = uproot.open({path: None})
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (*_BROKEN, ImportError) as error:
        reason = _first_line(error)
        after = f" after {time.monotonic() - started:.0f} s" if "://" in path else ""
        raise InputError(
            f"{path}: not a readable ROOT file (damaged, truncated or of another kind){after}: "
            f"{reason}"
        ) from None
    with file:
        yield file


def open_tree(file: Any, path: str, name: str) -> Tree:  # noqa: ANN401
    """Find a tree in an open file.

    Raises:
        InputError: if there is none of that name; the message names those that exist.
    """
    with _readable(path, "list of its trees"):
        classes = file.classnames(cycle=False)
    trees = [key for key, kind in classes.items() if kind in _TREES]
    if name not in trees:
        raise InputError(f"{path}: no tree {name!r} ({nearest(name, trees)})")
    with _readable(path, f"tree {name!r}"):
        tree = file[name]
        # a branch of a split object is known by its own name too
        keys = {part for key in list(tree.keys()) for part in (key, key.split("/")[-1])}
        return Tree(path, name, int(tree.num_entries), frozenset(keys), tree)


@contextmanager
def _readable(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except _BROKEN as error:
        raise InputError(
            f"{path}: {what} cannot be read; the file is damaged or truncated: {_first_line(error)}"
        ) from None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
