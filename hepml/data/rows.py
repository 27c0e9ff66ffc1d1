"""From branches of a chunk to rows of columns: selected, weighted, identified and checked."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, UInt64

from hepml.config import DataJob
from hepml.data.counts import Counts
from hepml.data.factors import varied_weights
from hepml.data.folds import assign_folds, event_ids, one_number_per_event
from hepml.data.ntuples import Chunk
from hepml.data.particles import broken_particles, particle_columns
from hepml.data.recipe import Events, Recipe
from hepml.data.selection import passes, per_event
from hepml.data.store import ColumnWriter
from hepml.errors import InputError

LABELS = {"signal": 1, "sbi": 1, "background": 0, "data": -1}


@dataclass(frozen=True)
class Reading:
    """Files of one sample: what to do with their events, and what is counted on the way."""

    job: DataJob
    recipe: Recipe
    counts: Counts


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


def append_chunk(reading: Reading, chunk: Chunk, writer: ColumnWriter) -> None:
    """Select the events of a chunk, count them and append what is left.

    Raises:
        InputError: if a weight, label, variable or particle is broken; the message names no file.
    """
    job, recipe, counts = reading.job, reading.recipe, reading.counts
    cutflow, identity = counts.cutflow, counts.identity
    # before a variation: each copy of an event has its identity
    ids = event_ids([one_number_per_event(name, chunk.arrays[name]) for name in identity])
    if recipe.change:
        recipe.change.check_identity(chunk.arrays, identity)
        chunk = replace(chunk, arrays=recipe.change.apply(chunk.arrays, ids))
    events = Events(recipe, chunk)
    weight = _weights(reading, events)
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
    rows.columns.update(_identity(job, events, ids[kept], kept))
    valid = _valid(reading, events, rows, kept)
    if job.data.invalid == "drop":
        cutflow.add(len(cutflow.steps) - 1, rows.columns["weight"][valid])
    if not valid.all():
        rows = rows.keep(valid)
    writer.append(rows.columns, rows.counts, rows.particles)


def _weights(reading: Reading, events: Events) -> Float64[np.ndarray, " events"]:
    """Generator weight times scale.

    Raises:
        InputError: if any is NaN, infinite or missing, whatever the policy for variables.
    """
    recipe, generated = reading.recipe, reading.counts.generated
    chunk = events.chunk
    generator, scale = (
        per_event(expression(events), chunk.events, str(expression))
        for expression in (recipe.weight, recipe.scale)
    )
    weight = generator * scale
    broken = np.flatnonzero(~np.isfinite(weight))
    if broken.size:
        where = f"samples.{reading.job.name}"
        raise InputError(
            f"{broken.size} event weights are NaN, infinite or missing, the first at entry "
            f"{chunk.start + broken[0]}; mend {where}.weight or {where}.scale"
        )
    if recipe.schema.runs is None:
        generated.add(float(generator.sum()))
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
    reading: Reading, events: Events, rows: _Rows, kept: Bool[np.ndarray, " events"]
) -> Bool[np.ndarray, " kept"]:
    """Which events have variables that are numbers, and particles that can be.

    Raises:
        InputError: naming each variable and branch with its number of broken events and the first
            entry, unless the policy is to drop such events.
    """
    recipe = reading.recipe
    broken = {repr(name): ~np.isfinite(rows.columns[name]) for name in recipe.variables}
    if rows.particles is not None and recipe.schema.particles:
        arrays = events.chunk.arrays
        broken |= broken_particles(recipe.schema.particles, arrays, kept, rows.particles)
    bad = np.logical_or.reduce(list(broken.values()))
    if reading.job.data.invalid == "fail" and bad.any():
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
