"""Jets as sets of particles: the input of networks that read particles one by one.

Features, shifts, scales and limits are those of the public JetClass configurations
(github.com/jet-universe/particle_transformer, data/JetClass), so that networks trained there can be
used here. Particles stay packed, one jet after another: nothing is padded.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Int64

from hepml.errors import InputError, nearest

Column = Any  # np.ndarray or Tensor, one value per particle
Namespace = Any  # numpy or torch

MOMENTUM = ("px", "py", "pz", "energy")


@dataclass(frozen=True)
class Scaling:
    """What a network sees of a value: (value - shift) * scale, cut off at ``low`` and ``high``."""

    shift: float = 0.0
    scale: float = 1.0
    low: float = -5.0
    high: float = 5.0


_KINEMATICS: dict[str, Scaling | None] = {
    "part_pt_log": Scaling(1.7, 0.7),
    "part_e_log": Scaling(2.0, 0.7),
    "part_logptrel": Scaling(-4.7, 0.7),
    "part_logerel": Scaling(-4.7, 0.7),
    "part_deltaR": Scaling(0.2, 4.0),
}
_DIRECTION: dict[str, Scaling | None] = {"part_deta": None, "part_dphi": None}
_IDENTITY: dict[str, Scaling | None] = {
    "part_charge": None,
    "part_isChargedHadron": None,
    "part_isNeutralHadron": None,
    "part_isPhoton": None,
    "part_isElectron": None,
    "part_isMuon": None,
}
_TRACK: dict[str, Scaling | None] = {
    "part_d0": None,
    "part_d0err": Scaling(low=0.0, high=1.0),
    "part_dz": None,
    "part_dzerr": Scaling(low=0.0, high=1.0),
}
FEATURES = {
    "kin": {**_KINEMATICS, **_DIRECTION},
    "full": {**_KINEMATICS, **_IDENTITY, **_TRACK, **_DIRECTION},
}  # in the order of the public configurations; None leaves the value as it is
_TANH = {"part_d0": "d0val", "part_dz": "dzval"}


@dataclass(frozen=True)
class SetRecipe:
    """What is made of the particles: the set of features, and how many particles at most."""

    features: Literal["kin", "full"] = "kin"
    maximum: int = 128

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(FEATURES[self.features])


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

    def take(self, jets: Int64[np.ndarray, " taken"]) -> "ParticleSets":
        """Some of the jets, in the order asked for: a batch."""
        counts = self.counts[jets]
        rows = _ranges(self._starts[jets], counts)
        features = self.features.take(rows, axis=0)
        return ParticleSets(features, self.momenta.take(rows, axis=0), counts)

    @cached_property
    def _starts(self) -> Int64[np.ndarray, " jets"]:
        return np.cumsum(self.counts) - self.counts


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
    column = _columns(fields, recipe)
    _require_physical(values, counts, fields)
    kept = _hardest(_pt(values, column), counts, recipe.maximum)
    total = _jet_sums(values[:, [column[name] for name in MOMENTUM]], counts)
    left = np.minimum(counts, recipe.maximum)
    values = values.take(kept, axis=0)
    jet = np.repeat(np.arange(len(counts)), left)
    features = _features(values, column, total[jet], recipe)
    return ParticleSets(
        features=features,
        momenta=np.ascontiguousarray(values[:, [column[name] for name in MOMENTUM]]),
        counts=left,
        jets_cut=int((counts > left).sum()),
        particles_cut=int((counts - left).sum()),
    )


def needed_fields(recipe: SetRecipe) -> tuple[str, ...]:
    """Fields of a particle that the features are made of."""
    if recipe.features == "kin":
        return (*MOMENTUM, "deta", "dphi")
    identity = (name.removeprefix("part_") for name in _IDENTITY)
    return (*MOMENTUM, "deta", "dphi", *identity, *_TANH.values(), "d0err", "dzerr")


def _columns(fields: Sequence[str], recipe: SetRecipe) -> dict[str, int]:
    column = {name: index for index, name in enumerate(fields)}
    for name in needed_fields(recipe):
        if name not in column:
            raise InputError(
                f"particle features {recipe.features!r} need the particle field {name!r}, which "
                f"is not stored ({nearest(name, fields)}); add it to data.schema.particles"
            )
    return column


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


def _pt(
    values: Float32[np.ndarray, "particles fields"], column: dict[str, int]
) -> Float32[np.ndarray, " particles"]:
    return _length(values[:, column["px"]], values[:, column["py"]], np)


def _length(x: Column, y: Column, xp: Namespace) -> Column:
    """Written out, because ONNX has no hypot."""
    return xp.sqrt(x * x + y * y)


def _hardest(
    pt: Float32[np.ndarray, " particles"], counts: Int64[np.ndarray, " jets"], maximum: int
) -> Int64[np.ndarray, " kept"]:
    """Rows of the particles that are kept, jet by jet, hardest first; ties keep their order."""
    jet = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    # bits of a float >= 0 order like the float; one integer key sorts by jet, then falling pT
    softness = np.uint64(0xFFFFFFFF) - np.ascontiguousarray(pt).view(np.uint32)
    rows = np.argsort((jet << np.uint64(32)) | softness, kind="stable")
    if counts.size == 0 or counts.max() <= maximum:
        return rows
    return rows[_ranges(np.cumsum(counts) - counts, np.minimum(counts, maximum))]


def _ranges(
    starts: Int64[np.ndarray, " jets"], counts: Int64[np.ndarray, " jets"]
) -> Int64[np.ndarray, " particles"]:
    """start, start + 1, ... for each jet."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def _jet_sums(
    momenta: Float32[np.ndarray, "particles 4"], counts: Int64[np.ndarray, " jets"]
) -> Float32[np.ndarray, "jets 4"]:
    running = np.zeros((len(momenta) + 1, 4))
    np.cumsum(momenta, axis=0, dtype=np.float64, out=running[1:])
    ends = np.cumsum(counts)
    return (running[ends] - running[ends - counts]).astype(np.float32)


def _features(
    values: Float32[np.ndarray, "particles fields"],
    column: dict[str, int],
    jet: Float32[np.ndarray, "particles 4"],
    recipe: SetRecipe,
) -> Float32[np.ndarray, "particles features"]:
    particles = {name: values[:, index] for name, index in column.items()}
    features = np.empty((len(values), len(recipe.names)), np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):  # log 0; 0/0 in a jet of zeros
        made = feature_columns(particles, dict(zip(MOMENTUM, jet.T, strict=True)), recipe, np)
        for index, x in enumerate(made):
            features[:, index] = x
    return features


def feature_columns(
    particles: Mapping[str, Column], jet: Mapping[str, Column], recipe: SetRecipe, xp: Namespace
) -> Iterator[Column]:
    """Features one after another, in the order of ``recipe.names``; for arrays and tensors.

    Args:
        particles: column of each needed field.
        jet: sums of px, py and energy over the jet of each particle.
        recipe: which features.
        xp: numpy or torch.
    """
    pt, energy = _length(particles["px"], particles["py"], xp), particles["energy"]
    made = {
        "part_pt_log": xp.log(pt),
        "part_e_log": xp.log(energy),
        "part_logptrel": xp.log(_ratio(pt, _length(jet["px"], jet["py"], xp), xp)),
        "part_logerel": xp.log(_ratio(energy, jet["energy"], xp)),
        "part_deltaR": _length(particles["deta"], particles["dphi"], xp),
    }
    for name, scaling in FEATURES[recipe.features].items():
        if name in _TANH:
            x = xp.tanh(particles[_TANH[name]])
        else:
            x = made[name] if name in made else particles[name.removeprefix("part_")]
        if scaling is not None:
            x = xp.clip((x - scaling.shift) * scaling.scale, scaling.low, scaling.high)
        yield x


def _ratio(part: Column, whole: Column, xp: Namespace) -> Column:
    """Quotient, and 0 where there is no part."""
    return xp.where(part == 0, part, part / whole)
