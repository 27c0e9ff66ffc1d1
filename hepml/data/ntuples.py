"""ROOT files to awkward arrays, with every failure said in one line."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot

from hepml.data.inflate import use_libdeflate
from hepml.data.remote import PatientSource, options_of
from hepml.errors import InputError, nearest

CHUNK = 48_000_000  # bytes of uncompressed branches held at a time, whatever a file's size
_TREES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")


@dataclass(frozen=True)
class Chunk:
    """Some consecutive events of one file."""

    file: str
    start: int
    events: int
    arrays: Mapping[str, ak.Array]


@dataclass(frozen=True)
class Tree:
    """An open TTree or RNTuple."""

    file: str
    name: str
    entries: int
    branches: Mapping[str, int]
    _tree: Any

    def require(self, wanted: Mapping[str, str]) -> None:
        """Check that branches exist.

        Args:
            wanted: branch: the key of the config that asks for it.

        Raises:
            InputError: naming every missing branch with the nearest that exist, one per line.
        """
        problems = [
            f"{self.file}: tree {self.name!r} has no branch {name!r} "
            f"({nearest(name, self.branches)}), asked for by {key}"
            for name, key in sorted(wanted.items())
            if name not in self.branches
        ]
        problems += [
            f"{self.file}: tree {self.name!r} has {self.branches[name]} branches {name!r} in "
            f"different parents, asked for by {key}; they cannot be told apart"
            for name, key in sorted(wanted.items())
            if self.branches.get(name, 1) > 1
        ]
        if problems:
            raise InputError("\n".join(problems))

    def chunks(self, names: Set[str], most: int | None = None) -> Iterator[Chunk]:
        """Read branches chunk by chunk.

        Args:
            names: branches, which must exist.
            most: how many events to read; all without.
        """
        what = f"tree {self.name!r}, branches {', '.join(sorted(names)[:4])}"
        entries = self.entries if most is None else min(most, self.entries)
        with _readable(self.file, what):
            steps = self._steps(names.__contains__, entries)
        while True:
            with _readable(self.file, what):
                found = next(steps, None)
                if found is None:
                    return
                start, events, record = found
                arrays = {name: _field(record, name) for name in names}
            del found, record  # one chunk at a time
            yield Chunk(self.file, start, events, arrays)

    def _steps(self, wanted: Callable[[str], bool], entries: int) -> Iterator[tuple[int, int, Any]]:
        """First entry, number of entries and arrays of each chunk."""
        if isinstance(self._tree, uproot.behaviors.RNTuple.HasFields):
            step = max(1, int(self._tree.num_entries_for(f"{CHUNK} B", filter_name=wanted)))
            for start, stop in pairwise(self._edges(step, entries)):
                record = self._tree.arrays(
                    filter_name=wanted, entry_start=start, entry_stop=stop, library="ak"
                )
                yield start, stop - start, record
            return
        # of the tree's own header: uproot's num_entries_for reads a header of every basket
        size = sum(
            int(branch.uncompressed_bytes)
            for branch in self._tree.itervalues(filter_name=wanted, recursive=True)
        )
        step = max(1, int(CHUNK * self.entries / max(size, 1)))
        chunks = self._tree.iterate(  # keeps the baskets that reach into the next chunk
            filter_name=wanted, entry_stop=entries, step_size=step, library="ak", how=dict
        )
        for number, record in enumerate(chunks):
            start = number * step
            yield start, min(step, entries - start), record

    def _edges(self, step: int, entries: int) -> list[int]:
        """Where chunks of an RNTuple begin and end: with its clusters, which are read whole."""
        clusters = [int(c.num_first_entry) for c in self._tree.cluster_summaries]
        edges = [0]
        for start, stop in pairwise([*(c for c in clusters if c < entries), entries]):
            if stop - edges[-1] > step and start > edges[-1]:
                edges.append(start)
        return [*edges, entries]

    def total(self, branch: str) -> float:
        """Sum of a branch over all entries, in double precision."""
        self.require({branch: "data.schema.runs"})
        values = (ak.flatten(c.arrays[branch], axis=None) for c in self.chunks({branch}))
        return float(sum(np.sum(ak.to_numpy(array), dtype=float) for array in values))


@contextmanager
def open_file(path: str) -> Iterator[Any]:
    """Open a ROOT file, local or remote.

    Raises:
        InputError: if it is missing, is no ROOT file or is truncated.
    """
    if "://" in path:
        with _open(path, {path: None}, handler=PatientSource, **options_of(path)) as file:
            yield file
        return
    if Path(path).is_dir():
        raise InputError(f"{path}: a folder, not a file")
    try:
        stream = Path(path).open("rb")  # noqa: SIM115 (closed below)
    except OSError as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else error.strerror
        raise InputError(f"{path}: {reason}") from None
    # opened here, so that it is closed whatever happens in the reader
    with stream, _open(path, stream) as file:
        _check_length(file, path)
        yield file


def _open(path: str, source: Any, **options: Any) -> Any:  # noqa: ANN401
    use_libdeflate()
    try:
        return uproot.open(source, array_cache=None, **options)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except ImportError as error:
        raise InputError(f"{path}: {_missing_package(path, error)}") from None
    except Exception as error:  # damaged bytes can end in any exception of the reader
        raise InputError(
            f"{path}: not a readable ROOT file (damaged, truncated or of another kind): "
            f"{_first_line(error)}"
        ) from None


def _check_length(file: Any, path: str) -> None:  # noqa: ANN401
    expected, found = int(file.file.fEND), Path(path).stat().st_size
    if found < expected:
        raise InputError(
            f"{path}: truncated: {found} bytes of {expected} are left; copy or make it again"
        )


def _missing_package(path: str, error: ImportError) -> str:
    if path.startswith(("root://", "xroot")):
        return (
            "root:// needs the extra 'xrootd': pip install 'hepml-workflow[xrootd]', or copy the "
            "file"
        )
    return f"a package that reads it is not installed: {_first_line(error)}"


def open_tree(file: Any, path: str, name: str) -> Tree:  # noqa: ANN401
    """Find a tree in an open file.

    Args:
        file: from :func:`open_file`.
        path: of the file, for messages.
        name: ``tree``, ``folder/tree``, or ``tree;2`` for a cycle other than the newest.

    Raises:
        InputError: if there is none of that name; the message names those that exist.
    """
    with _readable(path, "list of its trees"):
        cycles = {key: kind for key, kind in file.classnames().items() if kind in _TREES}
    trees = {key.rpartition(";")[0] for key in cycles}
    if name not in trees and name not in cycles:
        raise InputError(f"{path}: no tree {name!r} ({nearest(name, trees)})")
    with _readable(path, f"tree {name!r}"):
        tree = file[name]
        # a branch of a split object goes by its own name
        branches = Counter(key.split("/")[-1] for key in tree.keys())  # noqa: SIM118 (not a dict)
        return Tree(path, name, int(tree.num_entries), branches, tree)


def _field(record: Any, name: str) -> ak.Array:  # noqa: ANN401
    """A branch; fields of RNTuple records go by dotted names."""
    fields = record.keys() if isinstance(record, dict) else record.fields
    if name in fields:
        return record[name]
    first, _, rest = name.partition(".")
    return _field(record[first], rest)


@contextmanager
def _readable(path: str, what: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # damaged bytes can end in any exception of the reader
        raise InputError(
            f"{path}: {what} cannot be read; the file is damaged or truncated: {_first_line(error)}"
        ) from None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]
