"""What to compute for one sample: its expressions, parsed once, and the branches they need."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np

from hepml.config import DataJob, Particles, Quantity, Schema
from hepml.data.expressions import Expression, parse_expression
from hepml.data.schemas import resolve
from hepml.errors import InputError

GEV = {"MeV": 1e-3, "GeV": 1.0, "TeV": 1e3}
MOMENTUM = ("px", "py", "pz", "energy")


@dataclass(frozen=True)
class Recipe:
    """The expressions of one sample."""

    schema: Schema
    weight: Expression
    scale: Expression
    label: Expression | None
    selection: tuple[tuple[str, Expression], ...]
    variables: dict[str, Expression]
    branches: dict[str, tuple[Expression, float]]
    with_particles: bool

    @cached_property
    def raw_names(self) -> frozenset[str]:
        """Branches of the tree that are read, without those of the identity."""
        events = Events(self, None)
        needed: set[str] = set()
        expressions = [self.weight, self.scale, *(e for _, e in self.selection)]
        expressions += [self.label] if self.label else []
        for expression in expressions:
            needed |= set().union(*(events.sources(name) for name in expression.names), set())
        for name in self.variables:
            needed |= events.sources(name)
        if self.with_particles and self.schema.particles:
            needed |= set(particle_branches(self.schema.particles))
        return frozenset(needed)

    @property
    def particle_fields(self) -> tuple[str, ...]:
        """Columns stored per particle; none where the sample stores no particles."""
        if not (self.with_particles and self.schema.particles):
            return ()
        return (*MOMENTUM, *self.schema.particles.fields)


def read_recipe(job: DataJob) -> Recipe:
    """Parse all expressions of a sample.

    Raises:
        InputError: naming every key whose expression is wrong, one per line.
    """
    problems: list[str] = []

    def parsed(key: str, text: str) -> Expression:
        try:
            return parse_expression(text)
        except InputError as error:
            problems.append(f"{key}: {error}")
            return parse_expression("1")

    schema = resolve(job.data.schema_)
    sample, where = job.sample, f"samples.{job.name}"
    is_data = sample.role == "data"
    weight = "1" if is_data else sample.weight or schema.weight or "1"
    steps = [(f"{where}.selection", sample.selection), ("data.selection", job.data.selection)]
    recipe = Recipe(
        schema=schema,
        weight=parsed(f"{where}.weight", weight),
        scale=parsed(f"{where}.scale", "1" if is_data else sample.scale or "1"),
        label=parsed(f"{where}.label", sample.label) if sample.label else None,
        selection=tuple(
            (step, parsed(f"{key}.{step}", text))
            for key, texts in steps
            for step, text in texts.items()
        ),
        variables={n: parsed(f"data.variables.{n}", t) for n, t in job.data.variables.items()},
        branches={n: _branch(n, entry, parsed) for n, entry in schema.branches.items()},
        with_particles=job.data.particles and schema.particles is not None,
    )
    if problems:
        raise InputError("\n".join(problems))
    return recipe


def _branch(
    name: str, entry: str | Quantity, parsed: Callable[[str, str], Expression]
) -> tuple[Expression, float]:
    if isinstance(entry, Quantity):
        return parsed(f"data.schema.branches.{name}", entry.expression), GEV[entry.unit]
    return parsed(f"data.schema.branches.{name}", entry), 1.0


class Events(Mapping[str, ak.Array]):
    """Arrays by name: a variable, a name of the schema, or a branch, in this order.

    A variable sees the variables declared before it; an expression of the schema sees branches.
    Each is computed when it is first asked for.
    """

    def __init__(self, recipe: Recipe, raw: Any, before: str | None = None) -> None:  # noqa: ANN401
        self._recipe = recipe
        self._raw = raw
        names = list(recipe.variables)
        self._variables = names if before is None else names[: names.index(before)]
        self._cache: dict[str, ak.Array] = {}

    def __getitem__(self, name: str) -> ak.Array:
        if name not in self._cache:
            self._cache[name] = self._compute(name)
        return self._cache[name]

    def _compute(self, name: str) -> ak.Array:
        recipe, raw = self._recipe, self._raw
        if name in self._variables:
            value = recipe.variables[name](Events(recipe, raw, before=name))
        elif name in recipe.branches:
            expression, factor = recipe.branches[name]
            value = expression({n: raw[n] for n in expression.names}) * factor
        else:
            value = raw[name]
        return value if isinstance(value, ak.Array) else ak.Array(np.full(len(raw), value))

    def sources(self, name: str) -> set[str]:
        """Branches of the tree that ``name`` is computed from."""
        if name in self._variables:
            inner = Events(self._recipe, None, before=name)
            names = self._recipe.variables[name].names
            return set().union(*(inner.sources(n) for n in names), set())
        if name in self._recipe.branches:
            return set(self._recipe.branches[name][0].names)
        return {name}

    def __iter__(self) -> Iterator[str]:
        return iter((*self._variables, *self._recipe.branches))

    def __len__(self) -> int:
        return len(self._variables) + len(self._recipe.branches)


def particle_branches(particles: Particles) -> list[str]:
    """All branches that the particles are made from."""
    momentum = (particles.px, particles.py, particles.pz, particles.pt, particles.eta,
                particles.phi, particles.energy, particles.mass)  # fmt: skip
    return [name for name in momentum if name] + list(particles.fields.values())


def particle_columns(particles: Particles, raw: ak.Array) -> tuple[np.ndarray, np.ndarray]:
    """Particles of many events as one table.

    Args:
        particles: which branches hold what.
        raw: record array ``events * {branch: var * number}``.

    Returns:
        Particles of each event, shape (events,), and px, py, pz, energy [GeV] and the further
        fields of all of them one after another, float32, shape (particles, fields).

    Raises:
        InputError: if the branches have different numbers of particles in one event.
    """
    names = particle_branches(particles)
    counts = ak.to_numpy(ak.num(raw[names[0]], axis=1)).astype(np.int64)
    for name in names[1:]:
        if not np.array_equal(ak.to_numpy(ak.num(raw[name], axis=1)), counts):
            raise InputError(f"branches {names[0]!r} and {name!r} differ in particles per event")
    flat = {name: ak.to_numpy(ak.flatten(raw[name], axis=1)) for name in names}
    table = np.empty((int(counts.sum()), len(MOMENTUM) + len(particles.fields)), np.float32)
    _fill_momentum(particles, flat, table)
    for column, branch in enumerate(particles.fields.values(), start=len(MOMENTUM)):
        table[:, column] = flat[branch]
    return counts, table


def _fill_momentum(particles: Particles, flat: dict[str, np.ndarray], table: np.ndarray) -> None:
    """Write px, py, pz and energy in GeV into the first four columns."""
    factor = GEV[particles.unit]
    if particles.px and particles.py and particles.pz:
        momentum = [flat[particles.px], flat[particles.py], flat[particles.pz]]
    else:
        pt, eta, phi = (flat[str(n)] for n in (particles.pt, particles.eta, particles.phi))
        momentum = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    if particles.energy:
        energy = flat[particles.energy]
    else:
        mass = flat[particles.mass].astype(np.float64) if particles.mass else 0.0
        energy = np.sqrt(sum(p.astype(np.float64) ** 2 for p in momentum) + mass**2)
    for column, values in enumerate((*momentum, energy)):
        np.multiply(values, factor, out=table[:, column], casting="unsafe")
