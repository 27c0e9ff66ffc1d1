"""The data stage: ROOT ntuples of one sample in, memory-mappable columns out.

One job reads all files, or several read some each and another one joins their parts: the columns
are the same to the last bit.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hepml.artifacts import new_folder, write_json
from hepml.config import DataJob
from hepml.data.counts import Counts, require_once
from hepml.data.ntuples import Chunk, Tree, open_file, open_tree
from hepml.data.recipe import Recipe, read_recipe
from hepml.data.rows import Reading, append_chunk
from hepml.data.selection import CutFlow
from hepml.data.store import Columns, ColumnWriter, open_columns
from hepml.data.weights import Generated, normalisation
from hepml.errors import InputError
from hepml.jobs import part_settings

PART = "part.json"  # instead of columns.json: no later step takes a part for a sample


def make_columns(job: DataJob, files: Sequence[str], output: Path) -> None:
    """Read, select, weight and store the events of one sample.

    Args:
        job: the settings.
        files: paths or URLs, read in this order.
        output: folder of the columns (see :mod:`hepml.data.store`) and ``cutflow.json``; complete
            or absent.

    Raises:
        InputError: if a file, tree, branch or expression is wrong, or nothing is left.
    """
    reading = _reading(job)
    with _columns(reading.recipe, output) as writer:
        _read(reading, files, writer)
        _finish(reading, writer)


def make_part(job: DataJob, files: Sequence[str], output: Path) -> None:
    """The same for some of the files of a sample, without normalisation; it may hold no event.

    Args:
        job: the settings.
        files: paths or URLs, read in this order.
        output: folder for :func:`merge_parts`; complete or absent.

    Raises:
        InputError: if a file, tree, branch or expression is wrong.
    """
    reading = _reading(job)
    with _columns(reading.recipe, output) as writer:
        _read(reading, files, writer)
        content = {"settings": _settings(job), "counts": reading.counts.content()}
        writer.finish(content, description=PART)


def merge_parts(job: DataJob, parts: Sequence[Path], output: Path) -> None:
    """Join the parts of a sample to what :func:`make_columns` makes of all their files.

    Args:
        job: the settings of all parts.
        parts: folders, in the order of their files.
        output: as of :func:`make_columns`.

    Raises:
        InputError: if a part is absent or was made with other settings, if files of two parts
            do not fit together, or if no event is left.
    """
    reading = _reading(job)
    opened = [_open_part(job, folder) for folder in parts]
    for part in opened:
        reading.counts.join(part.metadata["counts"])
    require_once(job.name, reading.counts.files)
    with _columns(reading.recipe, output) as writer:
        for part in opened:
            writer.append_folder(part)
        _finish(reading, writer)


def _reading(job: DataJob) -> Reading:
    recipe = read_recipe(job)
    steps = ["all events", *(name for name, _ in recipe.selection)]
    if job.data.invalid == "drop":
        steps.append("valid values")
    return Reading(job, recipe, Counts(CutFlow(steps)))


@contextmanager
def _columns(recipe: Recipe, output: Path) -> Iterator[ColumnWriter]:
    """Writes into a new folder, which takes the place of ``output`` if all goes well."""
    names = tuple(recipe.variables), recipe.particle_fields, recipe.weight_names
    with new_folder(output) as folder, ColumnWriter(folder, *names) as writer:
        yield writer


def _read(reading: Reading, files: Sequence[str], writer: ColumnWriter) -> None:
    recipe = reading.recipe
    if recipe.change:
        sys.stderr.write(recipe.change.remark(recipe.measured.keys()))
    require_once(reading.job.name, list(files))
    for chunk in _chunks(reading, files):
        try:
            append_chunk(reading, chunk, writer)
        except InputError as error:
            raise InputError(f"{chunk.file}: {error}") from None


def _chunks(reading: Reading, files: Sequence[str]) -> Iterator[Chunk]:
    """Chunks of all files, one file after another."""
    recipe, counts = reading.recipe, reading.counts
    for path in files:
        with open_file(path) as file:
            read_generated(reading.job, recipe, file, path, counts.generated)
            tree = open_tree(file, path, recipe.tree)
            require_events(tree, recipe)
            tree.require(recipe.wanted)
            counts.begin(path, identity_branches(recipe, tree))
            yield from tree.chunks(recipe.wanted.keys() | set(counts.identity))


def _finish(reading: Reading, writer: ColumnWriter) -> None:
    """Normalise the weights to all files, and write what describes the columns."""
    job, counts = reading.job, reading.counts
    if writer.events == 0:
        what = f", varied by {job.variation.name}" if job.variation else ""
        flow = counts.cutflow.text()
        raise InputError(f"samples.{job.name}{what}: no event is left ({flow})")
    factor = normalisation(job.name, job.sample, job.luminosity, counts.generated)
    metadata = _metadata(job, counts)
    writer.finish(metadata, factor)
    table = {"role": job.sample.role, "steps": counts.cutflow.table(factor)}
    write_json(writer.folder / "cutflow.json", metadata | table)


def _metadata(job: DataJob, counts: Counts) -> dict[str, Any]:
    generated = counts.generated
    return {
        "sample": job.name,
        "variation": job.variation.name if job.variation else None,
        "files": counts.files,
        "identity": list(counts.identity),
        "sum_of_weights": job.sample.sum_of_weights or generated.sum_of_weights,
        "negative_weights": generated.negative,
        "negative_fraction": generated.negative / max(generated.events_read, 1),
        "cross_section": job.sample.cross_section or generated.cross_section,
        "cross_section_error": generated.cross_section_error,
        "luminosity": job.luminosity,
        "folds": job.folds,
    }


def _settings(job: DataJob) -> Any:  # noqa: ANN401
    return json.loads(part_settings(job))


def _open_part(job: DataJob, folder: Path) -> Columns:
    part = open_columns(folder, PART)
    if part.metadata["settings"] != _settings(job):
        raise InputError(
            f"{folder}: made with other settings; run `hepml data --part` for it again"
        )
    return part


def read_generated(
    job: DataJob,
    recipe: Recipe,
    file: Any,  # noqa: ANN401
    path: str,
    generated: Generated,
) -> None:
    """Add what a file says about the generated events, where the schema names such a tree."""
    sample = job.sample
    known = sample.sum_of_weights and (sample.cross_section or sample.expected_events)
    if recipe.schema.runs and sample.role != "data" and not known:
        generated.read(recipe.schema.runs, file, path)


def require_events(tree: Tree, recipe: Recipe) -> None:
    """Raise InputError if a tree has no events.

    Where the file says how many were generated, an empty tree is a skim that nothing survived: it
    belongs to the normalisation.
    """
    if tree.entries == 0 and recipe.schema.runs is None:
        raise InputError(f"{tree.file}: tree {tree.name!r} is empty; leave the file out")


def identity_branches(recipe: Recipe, tree: Tree) -> tuple[str, ...]:
    """Give the first alternative of ``schema.identity`` whose branches all exist.

    Raises:
        InputError: if none is complete.
    """
    for names in recipe.schema.identity:
        if all(name in tree.branches for name in names):
            return names
    alternatives = " or ".join(str(list(names)) for names in recipe.schema.identity)
    raise InputError(
        f"{tree.file}: tree {tree.name!r} lacks the branches that identify an event: expected "
        f"{alternatives}; name yours in data.schema.identity"
    )
