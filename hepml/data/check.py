"""Find everything that is wrong with an analysis before anything runs."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from hepml.config import DataJob
from hepml.data.expressions import Expression
from hepml.data.ntuples import Tree, open_file, open_tree
from hepml.data.particles import particle_columns
from hepml.data.recipe import Events, Recipe, read_recipe
from hepml.data.selection import per_event
from hepml.data.stage import identity_branches, read_generated, require_events
from hepml.data.weights import Generated
from hepml.errors import InputError
from hepml.files import files_of

TRIED = 100  # events of the first file on which the expressions are tried


def problems(jobs: Iterable[DataJob]) -> list[str]:
    """Try the schema, the expressions and every file of every sample.

    Args:
        jobs: one per sample.

    Returns:
        One message per problem; none if all is well.
    """
    lines = [line for job in jobs for text in _of_sample(job) for line in text.splitlines()]
    return list(dict.fromkeys(lines))  # what is wrong for several samples is said once


def _of_sample(job: DataJob) -> list[str]:
    found: list[str] = []
    files: list[str] = []
    try:
        files = files_of(job)
    except InputError as error:
        found.append(str(error))
    try:
        recipe = read_recipe(job)
    except InputError as error:
        return [*found, str(error)]
    used: dict[tuple[str, ...], str] = {}
    for path in files:
        try:
            found += _of_file(job, recipe, path, used, evaluate=path == files[0])
        except InputError as error:
            found.append(str(error))
    if len(used) > 1:
        ways = "; ".join(f"{list(names)} in {path}" for names, path in used.items())
        found.append(
            f"samples.{job.name}: events are identified in different ways: {ways}; name branches "
            "that all files have in data.schema.identity"
        )
    return found


def _of_file(
    job: DataJob, recipe: Recipe, path: str, used: dict[tuple[str, ...], str], *, evaluate: bool
) -> list[str]:
    with open_file(path) as file:
        tree = open_tree(file, path, recipe.tree)
        found = _tried(
            partial(read_generated, job, recipe, file, path, Generated()),
            partial(require_events, tree, recipe),
            lambda: used.setdefault(identity_branches(recipe, tree), path),
            partial(_identity_stays, recipe, tree),
        )
        missing = _tried(partial(tree.require, recipe.wanted))
        if evaluate:
            found += _of_expressions(recipe, tree)
    return found + missing


def _of_expressions(recipe: Recipe, tree: Tree) -> list[str]:
    """Evaluate every expression, and make the particles, of the first events."""
    names = {name for name in recipe.wanted if tree.branches.get(name) == 1}
    chunk = next(tree.chunks(names, TRIED), None) if names else None
    if chunk is None:
        return []
    if recipe.change:
        anyone = np.arange(chunk.events, dtype=np.uint64)
        found = _tried(partial(recipe.change.apply, chunk.arrays, anyone))
        if found or not recipe.wanted.keys() <= names:
            return [f"{tree.file}: {message}" for message in found]
        chunk = replace(chunk, arrays=recipe.change.apply(chunk.arrays, anyone))
    events = Events(recipe, chunk)
    alone = [recipe.weight, recipe.scale, *(expression for _, expression in recipe.selection)]
    alone += [recipe.label] if recipe.label else []
    alone += [factor for pair in recipe.factors.values() for factor in pair if factor]
    attempts: list[partial[Any]] = [partial(_alone, events, expression) for expression in alone]
    attempts += [partial(_variable, events, name) for name in recipe.variables]
    if recipe.with_particles and recipe.schema.particles:
        everything = np.ones(events.chunk.events, bool)
        attempts.append(
            partial(particle_columns, recipe.schema.particles, events.chunk.arrays, everything)
        )
    return [f"{tree.file}: {message}" for message in _tried(*attempts)]


def _identity_stays(recipe: Recipe, tree: Tree) -> None:
    if recipe.change:
        identity = identity_branches(recipe, tree)
        for chunk in tree.chunks(set(identity), TRIED):
            recipe.change.check_identity(chunk.arrays, identity)


def _alone(events: Events, expression: Expression) -> None:
    per_event(expression(events), events.chunk.events, str(expression))


def _variable(events: Events, name: str) -> None:
    per_event(events[name], events.chunk.events, str(events.recipe.variables[name]))


def _tried(*attempts: Callable[[], Any]) -> list[str]:
    """Messages of those attempts that fail."""
    found = []
    for attempt in attempts:
        try:
            attempt()
        except InputError as error:
            found.append(str(error))
        except KeyError:  # of a branch that does not exist, which is said elsewhere
            continue
    return found
