"""Jets as sets of particles, made of what is stored: ordered by pT, cut, with features.

Particles stay packed, one jet after another: nothing is padded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Int64

from hepml import kernels
from hepml.data.particles import order_by_pt, transverse_momentum
from hepml.errors import InputError, nearest
from hepml.inputs.sets import (
    FEATURES,
    MOMENTUM,
    TANH,
    Column,
    SetRecipe,
    feature_columns,
    needed_fields,
)
from hepml.inputs.source import runs

_QUANTITIES: dict[str, tuple[kernels.Quantity, tuple[str, ...]]] = {
    "part_pt_log": (kernels.Quantity.LN_PT, ()),
    "part_e_log": (kernels.Quantity.LN_ENERGY, ()),
    "part_logptrel": (kernels.Quantity.LN_PT_SHARE, ()),
    "part_logerel": (kernels.Quantity.LN_ENERGY_SHARE, ()),
    "part_deltaR": (kernels.Quantity.LENGTH, ("deta", "dphi")),
}  # as the kernel makes them; feature_columns says what they are


@dataclass(frozen=True)
class ParticleSets:
    """Jets as sets: the particles of jet i follow those of jet i - 1, hardest first.

    ``momenta`` are px, py, pz and energy in GeV. ``jets_cut`` jets had more particles than were
    kept, ``particles_cut`` in all.
    """

    features: Float32[np.ndarray, "particles features"]
    momenta: Float32[np.ndarray, "particles 4"]
    counts: Int64[np.ndarray, " jets"]
    jets_cut: int = 0
    particles_cut: int = 0


def particle_sets(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int64[np.ndarray, " jets"],
    fields: Sequence[str],
    recipe: SetRecipe,
) -> ParticleSets:
    """Order the particles of each jet by transverse momentum, keep the hardest, make features.

    Momenta relative to the jet (``part_logptrel``, ``part_logerel``) refer to the sum of all its
    particles, those that are cut included. A transverse momentum of zero has the logarithm at its
    lower limit. A jet without particles stays, with a count of zero.

    Args:
        values: particles of all jets, one jet after another.
        counts: particles of each jet.
        fields: names of the columns of ``values``.
        recipe: which features, and how many particles at most.

    Raises:
        InputError: if a field is missing, or a particle has a value that is not finite or a
            negative energy; the message names the jet.
    """
    _require_fields(fields, recipe)
    left = np.minimum(counts, recipe.maximum)
    made = _by_kernel(values, counts, left, fields, recipe) if kernels.fit_for() else None
    features, momenta = made or _by_numpy(values, counts, left, fields, recipe)
    cut = counts - left
    return ParticleSets(features, momenta, left, int((cut > 0).sum()), int(cut.sum()))


def _require_fields(fields: Sequence[str], recipe: SetRecipe) -> None:
    for name in needed_fields(recipe):
        if name not in fields:
            raise InputError(
                f"particle features {recipe.features!r} need the particle field {name!r}, which "
                f"is not stored ({nearest(name, fields)}); add it to data.schema.particles"
            )


def _require_physical(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int64[np.ndarray, " jets"],
    fields: Sequence[str],
) -> None:
    energy = values[:, list(fields).index("energy")]
    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.isfinite(values.sum()) and not (energy < 0).any()
    if sound:  # a finite sum has finite terms
        return
    broken = ~np.isfinite(values)
    broken[:, list(fields).index("energy")] |= energy < 0
    rows, columns = np.nonzero(broken)
    if rows.size:
        jet = int(np.searchsorted(np.cumsum(counts), rows[0], side="right"))
        raise InputError(
            f"jet {jet}: a particle has {fields[columns[0]]} = {values[rows[0], columns[0]]}, "
            "expected a finite value, and an energy of at least 0; remove such particles or jets "
            "in data.selection"
        )


def _by_kernel(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int64[np.ndarray, " jets"],
    left: Int64[np.ndarray, " jets"],
    fields: Sequence[str],
    recipe: SetRecipe,
) -> tuple[Float32[np.ndarray, "kept features"], Float32[np.ndarray, "kept 4"]] | None:
    """Features and momenta; None for values that kernels do not take."""
    momentum = [list(fields).index(name) for name in MOMENTUM]
    features = _described(tuple(fields), recipe)
    made, momenta, outcome = kernels.particle_sets(values, counts, left, momentum, features, False)
    if outcome == kernels.Outcome.PERHAPS_UNORDERED:
        px, py = (values[:, column] for column in momentum[:2])
        order = order_by_pt(transverse_momentum(px, py), counts)
        ordered = values if order is None else values.take(order, axis=0)
        made, momenta, outcome = kernels.particle_sets(
            ordered, counts, left, momentum, features, True
        )
    return (made, momenta) if outcome == kernels.Outcome.DONE else None


@lru_cache  # of every batch the same
def _described(fields: tuple[str, ...], recipe: SetRecipe) -> list[kernels.Feature]:
    """What the kernel has to make."""
    column = list(fields).index
    described = []
    for name, scaling in FEATURES[recipe.features].items():
        if name in TANH:
            quantity, columns = kernels.Quantity.TANH, [column(TANH[name])]
        elif name in _QUANTITIES:
            quantity, needed = _QUANTITIES[name]
            columns = list(map(column, needed))
        else:
            quantity, columns = kernels.Quantity.FIELD, [column(name.removeprefix("part_"))]
        described.append(kernels.Feature(quantity, columns, **vars(scaling) if scaling else {}))
    return described


def _by_numpy(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int64[np.ndarray, " jets"],
    left: Int64[np.ndarray, " jets"],
    fields: Sequence[str],
    recipe: SetRecipe,
) -> tuple[Float32[np.ndarray, "kept features"], Float32[np.ndarray, "kept 4"]]:
    _require_physical(values, counts, fields)
    particles = _by_name(values, fields)
    jets = _jet_sums(particles, counts)
    rows = _hardest(particles, counts, left)
    if rows is not None:
        particles = _by_name(values.take(rows, axis=0), fields)
    features = _features(particles, {n: np.repeat(x, left) for n, x in jets.items()}, recipe)
    return features, np.stack([particles[name] for name in MOMENTUM], axis=1)


def _by_name(
    values: Float32[np.ndarray, "particles fields"], fields: Sequence[str]
) -> dict[str, Column]:
    """Columns of a table, each in one piece."""
    return dict(zip(fields, values.T.copy(), strict=True))


def _hardest(
    particles: Mapping[str, Column],
    counts: Int64[np.ndarray, " jets"],
    left: Int64[np.ndarray, " jets"],
) -> Int64[np.ndarray, " kept"] | None:
    """Rows of the particles that are kept, jet by jet, hardest first; None for all as they are."""
    rows = order_by_pt(transverse_momentum(particles["px"], particles["py"]), counts)
    if np.array_equal(left, counts):
        return rows
    kept = runs(np.cumsum(counts) - counts, left)
    return kept if rows is None else rows[kept]


def _jet_sums(
    particles: Mapping[str, Column], counts: Int64[np.ndarray, " jets"]
) -> dict[str, Float32[np.ndarray, " jets"]]:
    """Sums of px, py and energy over each jet, in double precision on the way."""
    filled = np.flatnonzero(counts)  # reduceat misreads jets without particles
    starts = (np.cumsum(counts) - counts)[filled]
    sums = {name: np.zeros(len(counts), np.float32) for name in ("px", "py", "energy")}
    for name, of_jet in sums.items() if filled.size else ():
        of_jet[filled] = np.add.reduceat(particles[name], starts, dtype=np.float64)
    return sums


def _features(
    particles: Mapping[str, Column], jet: Mapping[str, Column], recipe: SetRecipe
) -> Float32[np.ndarray, "particles features"]:
    features = np.empty((len(particles["px"]), len(recipe.names)), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0; 0/0 in a jet of zeros
        for index, x in enumerate(feature_columns(particles, jet, recipe, np)):
            features[:, index] = x
    return features
