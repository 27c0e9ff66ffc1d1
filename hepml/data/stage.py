"""The data stage: ROOT ntuples of one sample in, memory-mappable columns out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np

from hepml.artifacts import new_folder, write_json
from hepml.config import DataJob
from hepml.data.folds import assign_folds, event_ids
from hepml.data.ntuples import Tree, open_file, open_tree
from hepml.data.recipe import Events, Recipe, particle_columns, read_recipe
from hepml.data.selection import CutFlow, passes, per_event
from hepml.data.store import ColumnWriter
from hepml.data.weights import Generated, normalisation
from hepml.errors import InputError

LABELS = {"signal": 1, "background": 0, "data": -1}


@dataclass(frozen=True)
class _Chunk:
    """Some events of one file, and where they came from."""

    raw: ak.Array
    file: str
    start: int
    identity: tuple[str, ...]


@dataclass(frozen=True)
class _Sample:
    """One sample: what to do with its events, and what is counted on the way."""

    job: DataJob
    recipe: Recipe
    cutflow: CutFlow
    generated: Generated


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
    recipe = read_recipe(job)
    steps = ["all events", *(name for name, _ in recipe.selection)]
    if job.data.invalid == "drop":
        steps.append("finite variables")
    cutflow, generated = CutFlow(steps), Generated()
    sample = _Sample(job, recipe, cutflow, generated)
    with (
        new_folder(output) as folder,
        ColumnWriter(folder, tuple(recipe.variables), recipe.particle_fields) as writer,
    ):
        for chunk in _chunks(sample, files):
            _append(sample, chunk, writer)
        if writer.events == 0:
            raise InputError(f"samples.{job.name}: no event is left ({cutflow.text()})")
        factor = normalisation(job.name, job.sample, job.luminosity, generated)
        metadata = {
            "sample": job.name,
            "files": list(files),
            "sum_of_weights": job.sample.sum_of_weights or generated.sum_of_weights,
            "cross_section": job.sample.cross_section or generated.cross_section,
            "cross_section_error": generated.cross_section_error,
            "luminosity": job.luminosity,
            "folds": job.folds,
        }
        writer.finish(metadata, factor)
        flow = {"sample": job.name, "role": job.sample.role, "steps": cutflow.table(factor)}
        write_json(folder / "cutflow.json", flow | metadata)


def _chunks(sample: _Sample, files: Sequence[str]) -> Iterator[_Chunk]:
    job, recipe = sample.job, sample.recipe
    from_runs = job.sample.role != "data" and not job.sample.sum_of_weights
    for path in files:
        with open_file(path) as file:
            if recipe.schema.runs and from_runs:
                sample.generated.read(recipe.schema.runs, file, path)
            tree = open_tree(file, path, job.sample.tree or str(recipe.schema.tree))
            if tree.entries == 0:
                raise InputError(f"{path}: tree {tree.name!r} is empty; leave the file out")
            tree.require(recipe.raw_names, f"sample {job.name!r}")
            identity = identity_branches(recipe, tree)
            for start, raw in tree.chunks(recipe.raw_names | set(identity)):
                yield _Chunk(raw, path, start, identity)


def identity_branches(recipe: Recipe, tree: Tree) -> tuple[str, ...]:
    """Give the first alternative of ``schema.identity`` whose branches all exist.

    Raises:
        InputError: if none is complete.
    """
    for names in recipe.schema.identity:
        if tree.branches.issuperset(names):
            return names
    alternatives = " or ".join(str(list(names)) for names in recipe.schema.identity)
    raise InputError(
        f"{tree.file}: tree {tree.name!r} lacks the branches that identify an event: expected "
        f"{alternatives}; name yours in data.schema.identity"
    )


def _append(sample: _Sample, chunk: _Chunk, writer: ColumnWriter) -> None:
    """Select the events of a chunk and append what is left."""
    job, recipe, cutflow = sample.job, sample.recipe, sample.cutflow
    events, number = Events(recipe, chunk.raw), len(chunk.raw)
    generator = per_event(recipe.weight(events), number, recipe.weight.text)
    scale = per_event(recipe.scale(events), number, recipe.scale.text)
    weight = _finite_weights(generator * scale, chunk)
    if recipe.schema.runs is None:
        sample.generated.sum_of_weights += float(np.sum(generator, dtype=float))
    cutflow.add(0, weight)
    kept = np.ones(number, bool)
    for step, (_, expression) in enumerate(recipe.selection, start=1):
        kept &= passes(expression, events, number)
        cutflow.add(step, weight[kept])
    raw = chunk.raw if kept.all() else chunk.raw[kept]
    if len(raw) == 0:
        return
    entries = chunk.start + np.flatnonzero(kept)
    columns = _variables(recipe, raw)
    finite = _finite_rows(job, columns, entries, chunk)
    if job.data.invalid == "drop":
        cutflow.add(len(cutflow.steps) - 1, weight[kept][finite])
    columns |= _identity(job, recipe, raw, chunk)
    columns["weight"] = weight[kept]
    raw = raw if finite.all() else raw[finite]
    columns = {name: values[finite] for name, values in columns.items()}
    if recipe.particle_fields and recipe.schema.particles:
        writer.append(columns, *particle_columns(recipe.schema.particles, raw))
    else:
        writer.append(columns)


def _variables(recipe: Recipe, raw: ak.Array) -> dict[str, np.ndarray]:
    events = Events(recipe, raw)
    return {
        name: per_event(events[name], len(raw), f"{name}: {expression.text}").astype(np.float32)
        for name, expression in recipe.variables.items()
    }


def _identity(job: DataJob, recipe: Recipe, raw: ak.Array, chunk: _Chunk) -> dict[str, np.ndarray]:
    """Event id, fold and label of the events that are left."""
    ids = event_ids([ak.to_numpy(raw[name]) for name in chunk.identity])
    if recipe.label is None:
        label = np.full(len(raw), LABELS[str(job.sample.role)])
    else:
        label = passes(recipe.label, Events(recipe, raw), len(raw)).astype(int)
    return {"event_id": ids, "fold": assign_folds(ids, job.folds), "label": label}


def _finite_weights(weight: np.ndarray, chunk: _Chunk) -> np.ndarray:
    """Weights as float64.

    Raises:
        InputError: if any is NaN or infinite, whatever the policy for variables.
    """
    broken = np.flatnonzero(~np.isfinite(weight))
    if broken.size:
        raise InputError(
            f"{chunk.file}: {broken.size} event weights are NaN or infinite, the first at entry "
            f"{chunk.start + broken[0]}; mend samples.*.weight or samples.*.scale"
        )
    return weight.astype(np.float64)


def _finite_rows(
    job: DataJob, columns: dict[str, np.ndarray], entries: np.ndarray, chunk: _Chunk
) -> np.ndarray:
    """Which events have finite variables only.

    Raises:
        InputError: naming each variable with its number of broken values and the first entry,
            unless the policy is to drop such events.
    """
    finite = {name: np.isfinite(values) for name, values in columns.items()}
    good = np.logical_and.reduce(list(finite.values()))
    if job.data.invalid == "fail" and not good.all():
        found = "; ".join(
            f"{name!r} ({np.count_nonzero(~ok)} times, first at entry {entries[np.argmin(ok)]})"
            for name, ok in finite.items()
            if not ok.all()
        )
        raise InputError(
            f"{chunk.file}: NaN, infinite or missing values in {found}, among entries "
            f"{entries[0]} to {entries[-1]}; select them away, mend the expression, or set "
            "data.invalid: drop"
        )
    return good
