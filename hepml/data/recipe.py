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

    @cached_property
    def wanted(self) -> dict[str, str]:
        """Branches to read, without those of the identity, and the key that asks for each."""
        found: dict[str, str] = {}
        expressions = [self.weight, self.scale, *([self.label] if self.label else [])]
        expressions += [expression for _, expression in self.selection]
        for expression in expressions:
            self._trace(expression, tuple(self.variables), found)
        for number, expression in enumerate(self.variables.values()):
            self._trace(expression, tuple(self.variables)[:number], found)
        if self.with_particles and self.schema.particles:
            for name in particle_branches(self.schema.particles):
                found.setdefault(name, "data.schema.particles")
        return found

    def _trace(
        self, expression: Expression, visible: tuple[str, ...], found: dict[str, str]
    ) -> None:
        """Note the branches that an expression reads itself, not through variables."""
        for name in expression.names - set(visible):
            if name in self.branches:
                for branch in self.branches[name][0].names:
                    found.setdefault(branch, f"data.schema.branches.{name}")
            elif name in self.variables:
                found.setdefault(name, f"{expression.key} (a variable sees those above it only)")
            else:
                found.setdefault(name, expression.key)

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
    texts = {name: e if isinstance(e, str) else e.expression for name, e in schema.branches.items()}
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
            n: (parsed(f"data.schema.branches.{n}", t), _to_gev(schema.branches[n]))
            for n, t in texts.items()
        },
        with_particles=job.data.particles and schema.particles is not None,
    )
    problems += check_normalisation(job.name, sample, schema)
    if problems:
        raise InputError("\n".join(problems))
    return recipe


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
