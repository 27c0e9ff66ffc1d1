"""The one on-disk format between stages: memory-mappable columns.

A folder holds one ``.npy`` per event column, the particles of all events one after another in
``particles.npy`` (float32, shape (particles, fields)) with ``offsets.npy`` (int64, events + 1),
and ``columns.json``, written last: a folder without it is not complete. The data stage stores the
particles of each event by falling transverse momentum, those of equal momentum as they came.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np

from hepml.artifacts import write_json
from hepml.errors import InputError, nearest

FORMAT = 2  # 1 kept the order of the ntuples
BLOCK = 16_000_000  # bytes of a column that are copied at a time
_IDENTITY = {"event_id": np.uint64, "fold": np.int8, "label": np.int8, "weight": np.float64}


@dataclass(frozen=True)
class Particles:
    """Particles of many events: those of event i are ``values[offsets[i]:offsets[i + 1]]``.

    The data stage stores them hardest first.
    """

    fields: tuple[str, ...]
    offsets: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Columns:
    """The columns of one sample, read from disk only where they are touched."""

    folder: Path
    events: int
    names: tuple[str, ...]
    particle_fields: tuple[str, ...]
    metadata: Mapping[str, Any]

    def __getitem__(self, name: str) -> np.ndarray:
        """A column as read-only memory map, shape (events,).

        ``event_id`` (uint64), ``fold``, ``label`` (1 signal, 0 background, -1 data), ``weight``
        (float64, expected events at the luminosity), ``weight_<systematic>_up`` and ``_down``
        (float64, the same with a factor) and the variables (float32).

        Raises:
            InputError: if there is no such column; the message names the nearest.
        """
        if name not in self.names:
            raise InputError(f"{self.folder}: no column {name!r} ({nearest(name, self.names)})")
        return _map(self.folder / f"{name}.npy", self.events)

    def particles(self) -> Particles:
        """The particles of all events.

        Raises:
            InputError: if the sample was stored without particles.
        """
        if not self.particle_fields:
            raise InputError(f"{self.folder}: stored without particles; set data.particles: true")
        offsets = _map(self.folder / "offsets.npy", self.events + 1)
        values = _map(self.folder / "particles.npy", int(offsets[-1]))
        return Particles(self.particle_fields, offsets, values)


def open_columns(folder: Path, description: str = "columns.json") -> Columns:
    """Open a folder that :class:`ColumnWriter` finished.

    Args:
        folder: of the columns.
        description: file that declares it complete.

    Raises:
        InputError: if the folder is absent, not complete or of another format.
    """
    file = folder / description
    if not file.is_file():
        raise InputError(
            f"{folder}: no complete columns here ({description} is missing); run `hepml data`"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise InputError(
                f"{folder}: format {content['format']}, expected {FORMAT}; run `hepml data`"
            )
        return Columns(
            folder=folder,
            events=content["events"],
            names=tuple(content["columns"]),
            particle_fields=tuple(content["particle_fields"]),
            metadata=content["metadata"],
        )
    except (json.JSONDecodeError, KeyError, TypeError):
        raise InputError(f"{file}: damaged; run `hepml data` again") from None


class ColumnWriter:
    """Append events chunk by chunk; memory stays as large as one chunk.

    Args:
        folder: an existing, empty folder.
        variables: names of the variables, stored as float32.
        particle_fields: names of the particle columns; empty to store none.
        weights: names of further weights, stored and normalised as ``weight``.
    """

    def __init__(
        self,
        folder: Path,
        variables: tuple[str, ...],
        particle_fields: tuple[str, ...] = (),
        weights: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.names = (*_IDENTITY, *weights, *variables)
        self.weights = ("weight", *weights)
        self.particle_fields = particle_fields
        self.events = 0
        dtypes = {name: np.dtype(_IDENTITY.get(name, np.float32)) for name in self.names}
        dtypes |= {name: np.dtype(np.float64) for name in weights}
        self._files = {n: _GrowingArray(folder / f"{n}.npy", t, ()) for n, t in dtypes.items()}
        if particle_fields:
            width = (len(particle_fields),)
            self._values = _GrowingArray(folder / "particles.npy", np.dtype(np.float32), width)
            self._offsets = _GrowingArray(folder / "offsets.npy", np.dtype(np.int64), ())
            self._offsets.append(np.zeros(1, np.int64))

    def append(
        self,
        columns: Mapping[str, np.ndarray],
        counts: np.ndarray | None = None,
        particles: np.ndarray | None = None,
    ) -> None:
        """Append events.

        Args:
            columns: every column, each of shape (events,).
            counts: particles of each event, shape (events,).
            particles: shape (sum of counts, particle fields).
        """
        for name, file in self._files.items():
            file.append(columns[name])
        if counts is not None and particles is not None:
            self._offsets.append(self._values.length + np.cumsum(counts, dtype=np.int64))
            self._values.append(particles)
        self.events += len(columns["event_id"])

    def append_folder(self, columns: Columns) -> None:
        """Append all events of a finished folder with the same columns, block by block.

        Raises:
            InputError: if one of its files is damaged.
        """
        for name, file in self._files.items():
            for block in _blocks(columns.folder / f"{name}.npy", columns.events):
                file.append(block)
        if self.particle_fields and columns.events:
            before = self._values.length
            rows = columns.events + 1
            for number, block in enumerate(_blocks(columns.folder / "offsets.npy", rows)):
                self._offsets.append(before + (block if number else block[1:]))  # the first is 0
            particles = int(columns.particles().offsets[-1])
            for block in _blocks(columns.folder / "particles.npy", particles):
                self._values.append(block)
        self.events += columns.events

    def finish(
        self,
        metadata: Mapping[str, Any],
        weight_factor: float = 1.0,
        description: str = "columns.json",
    ) -> None:
        """Close the files and declare the folder complete.

        Args:
            metadata: kept in the description.
            weight_factor: multiplies all weights; the normalisation is known only at the end.
            description: name of the file that :func:`open_columns` looks for.
        """
        self.close()
        for name in self.weights if self.events and weight_factor != 1.0 else ():
            _multiply(self.folder / f"{name}.npy", self.events, weight_factor)
        write_json(
            self.folder / description,
            {
                "format": FORMAT,
                "events": self.events,
                "columns": list(self.names),
                "particle_fields": list(self.particle_fields),
                "metadata": dict(metadata),
            },
        )

    def close(self) -> None:
        """Close the files without declaring the folder complete."""
        for file in self._files.values():
            file.close()
        if self.particle_fields:
            self._values.close()
            self._offsets.close()

    def __enter__(self) -> "ColumnWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _GrowingArray:
    """A ``.npy`` file whose first axis grows; NumPy leaves room for that in the header."""

    def __init__(self, path: Path, dtype: np.dtype[Any], row: tuple[int, ...]) -> None:
        self.length = 0
        self._dtype = dtype
        self._row = row
        self._file: BinaryIO = path.open("wb")
        self._write_header()

    def append(self, rows: np.ndarray) -> None:
        contiguous = np.ascontiguousarray(rows, dtype=self._dtype)
        self._file.write(contiguous.data.cast("B") if contiguous.size else b"")
        self.length += len(contiguous)

    def close(self) -> None:
        if not self._file.closed:
            self._file.seek(0)
            self._write_header()
            self._file.close()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self.length, *self._row),
        }
        np.lib.format.write_array_header_1_0(self._file, header)


def _blocks(path: Path, length: int) -> Iterator[np.ndarray]:
    """Rows of a ``.npy`` file, some at a time: pages of a map would count as memory in use."""
    mapped = _map(path, length)
    dtype, row, offset = mapped.dtype, mapped.shape[1:], path.stat().st_size - mapped.nbytes
    del mapped
    width = int(np.prod(row, dtype=int))
    step = max(1, BLOCK // (width * dtype.itemsize))
    for start in range(0, length, step):
        stop = min(start + step, length)
        place = offset + start * width * dtype.itemsize
        block = np.fromfile(path, dtype, (stop - start) * width, offset=place)
        yield block.reshape(stop - start, *row)


def _multiply(path: Path, length: int, factor: float) -> None:
    """Multiply a column in its file."""
    with path.open("rb+") as file:
        file.seek(-8 * length, SEEK_END)
        for block in _blocks(path, length):
            file.write((block * factor).data)
            file.flush()


def _map(path: Path, length: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run `hepml data` again") from None
    if len(array) != length:
        raise InputError(f"{path}: {len(array)} rows, expected {length}; run `hepml data` again")
    return array
