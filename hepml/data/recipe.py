"""What to compute for one sample: its expressions, parsed once, and the branches they need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import awkward as ak
import numpy as np

from hepml.config import DataJob, Quantity, Schema
from hepml.data.expressions import Expression, parse_expression
from hepml.data.ntuples import Chunk
from hepml.data.particles import GEV, particle_branches, particle_fields
from hepml.data.schemas import resolve
from hepml.data.variations import Change, read_change
from hepml.data.weights import check_normalisation
from hepml.errors import InputError


@dataclass(frozen=True)
class Recipe:
    """The expressions of one sample."""

    schema: Schema
    tree: str
    weight: Expression
    scale: Expression
    label: Expression | None
    selection: tuple[tuple[str, Expression], ...]
    variables: dict[str, Expression]
    branches: dict[str, tuple[Expression, float]]
    with_particles: bool
    factors: dict[str, tuple[Expression, Expression | None]]
    change: Change | None

    @cached_property
    def wanted(self) -> dict[str, str]:
        """Branches to read, without those of the identity, and the key that asks for each."""
        return dict(self.change.wanted() if self.change else ()) | self.nominal

    @cached_property
    def nominal(self) -> dict[str, str]:
        """The same without what a variation reads."""
        found = dict(self.measured)
        expressions = [self.weight, self.scale, *([self.label] if self.label else [])]
        expressions += [e for pair in self.factors.values() for e in pair if e]
        for expression in expressions:
            self._trace(expression, tuple(self.variables), found)
        if self.with_particles and self.schema.particles:
            for name in particle_branches(self.schema.particles):
                found.setdefault(name, "data.schema.particles")
        return found

    @cached_property
    def measured(self) -> dict[str, str]:
        """Branches that selection and variables read, and the key that asks for each."""
        found: dict[str, str] = {}
        for _, expression in self.selection:
            self._trace(expression, tuple(self.variables), found)
        for number, expression in enumerate(self.variables.values()):
            self._trace(expression, tuple(self.variables)[:number], found)
        return found

    def _trace(
        self, expression: Expression, visible: tuple[str, ...], found: dict[str, str]
    ) -> None:
        """Note the branches that an expression reads itself, not through variables."""
        for name in expression.names - set(visible):
            if name in self.branches:
                replacement = self.branches[name][0]
                for branch in replacement.names:
                    found.setdefault(branch, replacement.key)
            elif name in self.variables:
                found.setdefault(name, f"{expression.key} (a variable sees those above it only)")
            else:
                found.setdefault(name, expression.key)

    @property
    def weight_names(self) -> tuple[str, ...]:
        """Columns of varied weights."""
        return tuple(f"weight_{name}_{d}" for name in self.factors for d in ("up", "down"))

    @property
    def particle_fields(self) -> tuple[str, ...]:
        """Columns stored per particle; none where the sample stores no particles."""
        if not (self.with_particles and self.schema.particles):
            return ()
        return particle_fields(self.schema.particles)


def read_recipe(job: DataJob) -> Recipe:
    """Parse all expressions of a sample.

    Raises:
        InputError: naming every key whose expression is wrong, one per line.
    """
    problems: list[str] = []

    def parsed(key: str, text: str) -> Expression:
        try:
            return parse_expression(text, key)
        except InputError as error:
            problems.append(str(error))
            return parse_expression("1")

    schema = resolve(job.data.schema_)
    sample, where = job.sample, f"samples.{job.name}"
    is_data = sample.role == "data"
    by_schema = sample.weight is None and schema.weight is not None
    weight = "1" if is_data else sample.weight or schema.weight or "1"
    steps = [(f"{where}.selection", sample.selection), ("data.selection", job.data.selection)]
    recipe = Recipe(
        schema=schema,
        tree=sample.tree or str(schema.tree),
        weight=parsed("data.schema.weight" if by_schema else f"{where}.weight", weight),
        scale=parsed(f"{where}.scale", "1" if is_data else sample.scale or "1"),
        label=parsed(f"{where}.label", sample.label) if sample.label else None,
        selection=tuple(
            (step, parsed(f"{key}.{step}", text)) for key, s in steps for step, text in s.items()
        ),
        variables={n: parsed(f"data.variables.{n}", t) for n, t in job.data.variables.items()},
        branches={
            name: (parsed(key, text), _to_gev(schema.branches[name]))
            for name, key, text in _branches(job, schema)
        },
        with_particles=job.data.particles and schema.particles is not None,
        factors={
            name: (
                parsed(f"systematics.{name}.weight.up", w.up),
                parsed(f"systematics.{name}.weight.down", w.down) if w.down else None,
            )
            for name, w in job.weights.items()
        },
        change=read_change(job.variation, schema) if job.variation else None,
    )
    problems += check_normalisation(job.name, sample, schema)
    if problems:
        raise InputError("\n".join(problems))
    if recipe.change:
        recipe.change.check_read(recipe.nominal.keys())
    return recipe


def _branches(job: DataJob, schema: Schema) -> Iterator[tuple[str, str, str]]:
    """Names of the schema, the key of each expression and its text, or what takes its place."""
    variation = job.variation
    for name, entry in schema.branches.items():
        if variation and name in variation.objects.branches:
            yield name, f"{variation.key}.branches.{name}", variation.objects.branches[name]
        else:
            text = entry if isinstance(entry, str) else entry.expression
            yield name, f"data.schema.branches.{name}", text


def _to_gev(entry: str | Quantity) -> float:
    return GEV[entry.unit] if isinstance(entry, Quantity) else 1.0


class Events(Mapping[str, ak.Array]):
    """Arrays by name: a variable, a name of the schema, or a branch, in this order.

    A variable sees the variables declared before it; an expression of the schema sees branches.
    Each is computed when it is first asked for.

    Args:
        recipe: the expressions.
        chunk: the branches.
        before: the variable from which on variables are not seen; None to see all.
    """

    def __init__(self, recipe: Recipe, chunk: Chunk, before: str | None = None) -> None:
        self.recipe = recipe
        self.chunk = chunk
        names = list(recipe.variables)
        self._visible = names if before is None else names[: names.index(before)]
        self._computed: dict[tuple[bool, str], ak.Array] = {}

    def __getitem__(self, name: str) -> ak.Array:
        key = (name in self._visible, name)
        if key not in self._computed:
            self._computed[key] = self._compute(name)
        return self._computed[key]

    def _compute(self, name: str) -> ak.Array:
        recipe, arrays = self.recipe, self.chunk.arrays
        if name in self._visible:
            above = Events(recipe, self.chunk, before=name)
            above._computed = self._computed  # each is computed once, whoever asks
            value = recipe.variables[name](above)
        elif name in recipe.branches:
            expression, factor = recipe.branches[name]
            value = expression(arrays)
            value = value if factor == 1 else value * factor
        else:
            value = arrays[name]
        if isinstance(value, ak.Array):
            return value
        return ak.Array(np.full(self.chunk.events, value))

    def __iter__(self) -> Iterator[str]:
        return iter((*self._visible, *self.recipe.branches))

    def __len__(self) -> int:
        return len(self._visible) + len(self.recipe.branches)
