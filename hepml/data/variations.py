"""Changed copies of ntuples: particles scaled or lost, branches replaced by others.

Everything after it, from the selection on, sees the changed arrays. What identifies an event does
not change, so an event keeps its fold.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, UInt64

from hepml.config import Particles, Schema, Variation
from hepml.data.expressions import Expression, parse_expression
from hepml.data.folds import bits, splitmix64
from hepml.data.functions import leaf_dtype
from hepml.data.particles import particle_branches
from hepml.errors import InputError, nearest

Arrays = Mapping[str, ak.Array]


@dataclass(frozen=True)
class Change:
    """What a variation does to the arrays of a chunk, its expressions parsed.

    Attributes:
        variation: its settings.
        particles: branches of the particles; None if there are none.
        scale: factor on each four-momentum.
        drop: probability of each particle to be lost.
        branches: what takes the place of which branch.
    """

    variation: Variation
    particles: Particles | None
    scale: Expression | None
    drop: Expression | None
    branches: Mapping[str, Expression]

    def wanted(self) -> Iterator[tuple[str, str]]:
        """Branches that it reads, and the key that asks for each."""
        for expression in filter(None, (self.scale, self.drop, *self.branches.values())):
            for name in expression.names:
                yield name, expression.key
        if self.particles and (self.scale or self.drop):
            yield _first_branch(self.particles), "data.schema.particles"

    def remark(self, measured: Set[str]) -> str:
        """A line on branches that do not follow the particles; empty if all do.

        Args:
            measured: branches that selection and variables read.
        """
        if not (self.scale or self.drop) or self.particles is None:
            return ""
        left = sorted(measured - set(particle_branches(self.particles)) - self.branches.keys())
        if not left:
            return ""
        return (
            f"warning: {self.variation.key} changes particles, but not what the ntuples hold in "
            f"{', '.join(left)}; if these depend on the particles, name what takes their place in "
            f"{self.variation.key}.branches\n"
        )

    def check_identity(self, arrays: Arrays, identity: Sequence[str]) -> None:
        """Raise InputError if events of varied ntuples would not be known again."""
        if not self.variation.objects.files:
            return
        for name in identity:
            if str(leaf_dtype(arrays[name])).startswith("float"):
                raise InputError(
                    f"{self.variation.key}.files: events are identified by {name!r}, which is not "
                    "a whole number and may differ in varied ntuples; name an event number in "
                    "data.schema.identity"
                )

    def check_read(self, read: Set[str]) -> None:
        """Raise InputError if it replaces a branch that nothing reads."""
        problems = [
            f"{self.variation.key}.branches.{name}: nothing reads a branch of that name "
            f"({nearest(name, read)})"
            for name in self.branches
            if name not in read
        ]
        if problems:
            raise InputError("\n".join(problems))

    def apply(self, arrays: Arrays, ids: UInt64[np.ndarray, " events"]) -> dict[str, ak.Array]:
        """Change the arrays of some events.

        Scale and loss see the nominal branches; what takes the place of branches sees particles
        that were scaled and lost.

        Args:
            arrays: by branch.
            ids: identity of the events, from which the losses are drawn.

        Raises:
            InputError: if a factor is not positive, or a probability is none.
        """
        changed = dict(arrays)
        if self.particles and (self.scale or self.drop):
            changed |= _changed(self.particles, arrays, self.effect(arrays, ids))
        events = len(ids)
        replaced = {name: expression(changed) for name, expression in self.branches.items()}
        return changed | {
            name: value if isinstance(value, ak.Array) else ak.Array(np.full(events, value))
            for name, value in replaced.items()
        }

    def effect(self, arrays: Arrays, ids: UInt64[np.ndarray, " events"]) -> "Effect":
        """What happens to each particle; see :meth:`apply`."""
        if self.particles is None:
            raise ValueError(f"{self.variation.key}: there are no particles")
        first = arrays[_first_branch(self.particles)]
        counts = ak.to_numpy(ak.num(first)).astype(np.int64)
        factor, kept = np.ones(counts.sum()), np.ones(counts.sum(), bool)
        if self.scale:
            factor = _per_particle(self.scale, arrays, first)
            _require(self.scale, factor, factor > 0, "factors on momenta are positive numbers")
        if self.drop:
            probability = _per_particle(self.drop, arrays, first)
            good = (probability >= 0) & (probability <= 1)
            _require(self.drop, probability, good, "probabilities lie between 0 and 1")
            kept = uniform(self.variation.systematic, ids, first) >= probability
        return Effect(counts, factor, kept)


@dataclass(frozen=True)
class Effect:
    """What a variation does to each particle of some events.

    Attributes:
        counts: particles of each event.
        factor: on the four-momentum.
        kept: False for those that are lost.
    """

    counts: Int64[np.ndarray, " events"]
    factor: Float64[np.ndarray, " particles"]
    kept: Bool[np.ndarray, " particles"]


def _changed(particles: Particles, arrays: Arrays, effect: Effect) -> dict[str, ak.Array]:
    """Branches of the particles after an effect, as far as they were read."""
    changed = {name: arrays[name] for name in particle_branches(particles) if name in arrays}
    if (effect.factor != 1).any():
        factor = ak.unflatten(effect.factor, effect.counts)
        scaled = changed.keys() & set(_dimensionful(particles))
        changed |= {name: changed[name] * factor for name in scaled}
    if effect.kept.all():
        return changed
    kept = ak.unflatten(effect.kept, effect.counts)
    return {name: values[kept] for name, values in changed.items()}


def read_change(variation: Variation, schema: Schema) -> Change:
    """Parse what a variation asks for.

    Args:
        variation: its settings.
        schema: resolved; names of its ``branches`` are left to whoever reads the schema.

    Raises:
        InputError: naming every key that is wrong, one per line.
    """
    objects, key = variation.objects, variation.key
    problems: list[str] = []

    def parsed(name: str, text: str | None) -> Expression | None:
        try:
            return None if text is None else parse_expression(text, f"{key}.{name}")
        except InputError as error:
            problems.append(str(error))
            return None

    texts = {n: t for n, t in objects.branches.items() if n not in schema.branches}
    branches = {name: parsed(f"branches.{name}", text) for name, text in texts.items()}
    scale, drop = parsed("scale", objects.scale), parsed("drop", objects.drop)
    if (scale or drop) and schema.particles is None:
        problems.append(f"{key}: scale and drop act on particles; name them in data.schema")
    if problems:
        raise InputError("\n".join(problems))
    return Change(
        variation, schema.particles, scale, drop, {n: e for n, e in branches.items() if e}
    )


def uniform(
    systematic: str, ids: UInt64[np.ndarray, " events"], particles: ak.Array
) -> Float64[np.ndarray, " particles"]:
    """A number in [0, 1) per particle, the same whatever is read before or beside it.

    It is a hash of the systematic, the event, the place of the particle in its list and the value
    of a branch: the latter tells apart jets that are entries of one event. Up and down see the
    same numbers, so what a small probability loses, a larger one does too.

    Args:
        systematic: its name; others are independent.
        ids: identity of the events.
        particles: a branch of theirs, ``events * var * number``.
    """
    counts = ak.to_numpy(ak.num(particles)).astype(np.int64)
    salt = hashlib.sha256(systematic.encode()).digest()[:8]
    mixed = splitmix64(ids ^ np.uint64(int.from_bytes(salt, "little")))
    mixed = splitmix64(np.repeat(mixed, counts) ^ _place(counts).astype(np.uint64))
    mixed = splitmix64(mixed ^ bits(ak.to_numpy(ak.flatten(particles, axis=1))))
    return (mixed >> np.uint64(11)) * 2.0**-53


def _place(counts: Int64[np.ndarray, " events"]) -> Int64[np.ndarray, " particles"]:
    """Number of each particle in its event."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _first_branch(particles: Particles) -> str:
    return particle_branches(particles)[0]


def _dimensionful(particles: Particles) -> list[str]:
    """Branches that a factor on the four-momentum multiplies: directions stay."""
    names = (particles.px, particles.py, particles.pz, particles.pt)
    return [name for name in (*names, particles.energy, particles.mass) if name]


def _per_particle(
    expression: Expression, arrays: Arrays, like: ak.Array
) -> Float64[np.ndarray, " particles"]:
    """One number per particle, NaN where it is missing."""
    value = expression(arrays)
    total = int(ak.sum(ak.num(like)))
    if not isinstance(value, ak.Array):
        return np.full(total, value, np.float64)
    try:
        value = ak.broadcast_arrays(value, like)[0]
    except ValueError:
        raise InputError(
            f"{expression}: gives another number of values per event than there are particles"
        ) from None
    flat = ak.to_numpy(ak.flatten(value, axis=1)).astype(np.float64)
    return np.ma.filled(flat, np.nan)


def _require(
    expression: Expression,
    values: Float[np.ndarray, " particles"],
    good: Bool[np.ndarray, " particles"],
    rule: str,
) -> None:
    bad = np.flatnonzero(~(good & np.isfinite(values)))
    if bad.size:
        raise InputError(f"{expression}: {rule}, but {bad.size} are not, such as {values[bad[0]]}")
