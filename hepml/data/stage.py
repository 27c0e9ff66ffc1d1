"""The data stage: ROOT ntuples of one sample in, memory-mappable columns out."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, UInt64

from hepml.artifacts import new_folder, write_json
from hepml.config import DataJob
from hepml.data.factors import varied_weights
from hepml.data.folds import assign_folds, event_ids, one_number_per_event
from hepml.data.ntuples import Chunk, Tree, open_file, open_tree
from hepml.data.particles import broken_particles, particle_columns
from hepml.data.recipe import Events, Recipe, read_recipe
from hepml.data.selection import CutFlow, passes, per_event
from hepml.data.store import ColumnWriter
from hepml.data.weights import Generated, normalisation
from hepml.errors import InputError
from hepml.jobs import given_twice

LABELS = {"signal": 1, "background": 0, "data": -1}


@dataclass(frozen=True)
class _Sample:
    """One sample: what to do with its events, and what is counted on the way."""

    job: DataJob
    recipe: Recipe
    cutflow: CutFlow
    generated: Generated


@dataclass(frozen=True)
class _Rows:
    """Events of one chunk that passed the selection."""

    columns: dict[str, np.ndarray]
    counts: np.ndarray | None
    particles: np.ndarray | None

    def keep(self, good: Bool[np.ndarray, " events"]) -> "_Rows":
        """Only the good events."""
        columns = {name: values[good] for name, values in self.columns.items()}
        if self.counts is None or self.particles is None:
            return _Rows(columns, None, None)
        rows = np.repeat(good, self.counts)
        return _Rows(columns, self.counts[good], self.particles[rows])


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
    if recipe.change:
        sys.stderr.write(recipe.change.remark(recipe.measured.keys()))
    steps = ["all events", *(name for name, _ in recipe.selection)]
    if job.data.invalid == "drop":
        steps.append("valid values")
    sample = _Sample(job, recipe, CutFlow(steps), Generated())
    with (
        new_folder(output) as folder,
        ColumnWriter(
            folder, tuple(recipe.variables), recipe.particle_fields, recipe.weight_names
        ) as writer,
    ):
        identity: tuple[str, ...] = ()
        for chunk, identity in _chunks(sample, files):
            try:
                _append(sample, chunk, identity, writer)
            except InputError as error:
                raise InputError(f"{chunk.file}: {error}") from None
        if writer.events == 0:
            what = f", varied by {job.variation.name}" if job.variation else ""
            flow = sample.cutflow.text()
            raise InputError(f"samples.{job.name}{what}: no event is left ({flow})")
        factor = normalisation(job.name, job.sample, job.luminosity, sample.generated)
        metadata = _metadata(sample, files, identity)
        writer.finish(metadata, factor)
        table = {"role": job.sample.role, "steps": sample.cutflow.table(factor)}
        write_json(folder / "cutflow.json", metadata | table)


def _metadata(sample: _Sample, files: Sequence[str], identity: tuple[str, ...]) -> dict[str, Any]:
    job, generated = sample.job, sample.generated
    return {
        "sample": job.name,
        "variation": job.variation.name if job.variation else None,
        "files": list(files),
        "identity": list(identity),
        "sum_of_weights": job.sample.sum_of_weights or generated.sum_of_weights,
        "negative_weights": generated.negative,
        "negative_fraction": generated.negative / max(generated.events_read, 1),
        "cross_section": job.sample.cross_section or generated.cross_section,
        "cross_section_error": generated.cross_section_error,
        "luminosity": job.luminosity,
        "folds": job.folds,
    }


def _chunks(sample: _Sample, files: Sequence[str]) -> Iterator[tuple[Chunk, tuple[str, ...]]]:
    """Chunks of all files, and the branches that identify their events."""
    recipe, first = sample.recipe, None
    twice = given_twice(files)
    if twice:
        raise InputError(f"samples.{sample.job.name}.files: {', '.join(twice)} given twice")
    for path in files:
        with open_file(path) as file:
            read_generated(sample.job, recipe, file, path, sample.generated)
            tree = open_tree(file, path, recipe.tree)
            require_events(tree, recipe)
            tree.require(recipe.wanted)
            identity = identity_branches(recipe, tree)
            if first is not None and identity != first:
                raise InputError(
                    f"{path}: events are identified by {list(identity)}, but by {list(first)} in "
                    f"{files[0]}; one event would fall into two folds; name branches that all "
                    "files have in data.schema.identity"
                )
            first = identity
            for chunk in tree.chunks(recipe.wanted.keys() | set(identity)):
                yield chunk, identity


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


def _append(sample: _Sample, chunk: Chunk, identity: tuple[str, ...], writer: ColumnWriter) -> None:
    """Select the events of a chunk and append what is left."""
    job, recipe, cutflow = sample.job, sample.recipe, sample.cutflow
    # before a variation: each copy of an event has its identity
    ids = event_ids([one_number_per_event(name, chunk.arrays[name]) for name in identity])
    if recipe.change:
        recipe.change.check_identity(chunk.arrays, identity)
        chunk = replace(chunk, arrays=recipe.change.apply(chunk.arrays, ids))
    events = Events(recipe, chunk)
    weight = _weights(sample, events)
    kept = np.ones(chunk.events, bool)
    cutflow.add(0, weight)
    for step, (_, expression) in enumerate(recipe.selection, start=1):
        kept &= passes(expression, events)
        cutflow.add(step, weight[kept])
    if not kept.any():
        return
    rows = _selected(events, kept)
    rows.columns["weight"] = weight[kept]
    rows.columns.update(varied_weights(events, weight, kept))
    rows.columns.update(_identity(sample.job, events, ids[kept], kept))
    valid = _valid(sample, events, rows, kept)
    if job.data.invalid == "drop":
        cutflow.add(len(cutflow.steps) - 1, rows.columns["weight"][valid])
    if not valid.all():
        rows = rows.keep(valid)
    writer.append(rows.columns, rows.counts, rows.particles)


def _weights(sample: _Sample, events: Events) -> Float64[np.ndarray, " events"]:
    """Generator weight times scale.

    Raises:
        InputError: if any is NaN, infinite or missing, whatever the policy for variables.
    """
    recipe, generated = sample.recipe, sample.generated
    chunk = events.chunk
    generator, scale = (
        per_event(expression(events), chunk.events, str(expression))
        for expression in (recipe.weight, recipe.scale)
    )
    weight = generator * scale
    broken = np.flatnonzero(~np.isfinite(weight))
    if broken.size:
        where = f"samples.{sample.job.name}"
        raise InputError(
            f"{broken.size} event weights are NaN, infinite or missing, the first at entry "
            f"{chunk.start + broken[0]}; mend {where}.weight or {where}.scale"
        )
    if recipe.schema.runs is None:
        generated.sum_of_weights += float(generator.sum())
    generated.count(weight)
    return weight


def _selected(events: Events, kept: Bool[np.ndarray, " events"]) -> _Rows:
    """Variables and particles of the events that are kept."""
    recipe = events.recipe
    with np.errstate(over="ignore"):  # what is infinite in single precision is found later
        columns = {
            name: per_event(events[name], len(kept), str(expression))[kept].astype(np.float32)
            for name, expression in recipe.variables.items()
        }
    if recipe.particle_fields and recipe.schema.particles:
        return _Rows(columns, *particle_columns(recipe.schema.particles, events.chunk.arrays, kept))
    return _Rows(columns, None, None)


def _identity(
    job: DataJob,
    events: Events,
    ids: UInt64[np.ndarray, " kept"],
    kept: Bool[np.ndarray, " events"],
) -> dict[str, np.ndarray]:
    """Event id, fold and label of the events that are kept."""
    chunk, expression = events.chunk, events.recipe.label
    if expression is None:
        label = np.full(len(ids), LABELS[str(job.sample.role)])
    else:
        value = per_event(expression(events), chunk.events, str(expression))[kept]
        missing = np.flatnonzero(np.isnan(value))
        if missing.size:
            entry = chunk.start + np.flatnonzero(kept)[missing[0]]
            raise InputError(
                f"{expression}: no value in {missing.size} events, the first at entry {entry}; "
                "select them away, or mend the expression"
            )
        label = (value != 0).astype(int)
    return {"event_id": ids, "fold": assign_folds(ids, job.folds), "label": label}


def _valid(
    sample: _Sample, events: Events, rows: _Rows, kept: Bool[np.ndarray, " events"]
) -> Bool[np.ndarray, " kept"]:
    """Which events have variables that are numbers, and particles that can be.

    Raises:
        InputError: naming each variable and branch with its number of broken events and the first
            entry, unless the policy is to drop such events.
    """
    recipe = sample.recipe
    broken = {repr(name): ~np.isfinite(rows.columns[name]) for name in recipe.variables}
    if rows.particles is not None and recipe.schema.particles:
        arrays = events.chunk.arrays
        broken |= broken_particles(recipe.schema.particles, arrays, kept, rows.particles)
    bad = np.logical_or.reduce(list(broken.values()))
    if sample.job.data.invalid == "fail" and bad.any():
        entries = events.chunk.start + np.flatnonzero(kept)
        found = "; ".join(
            f"{what} ({np.count_nonzero(b)} events, first at entry {entries[np.argmax(b)]})"
            for what, b in broken.items()
            if b.any()
        )
        raise InputError(
            f"NaN, infinite, missing or impossible values in {found}, among entries {entries[0]} "
            f"to {entries[-1]}; select them away, mend the expression, or set data.invalid: drop"
        )
    return ~bad
