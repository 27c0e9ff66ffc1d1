"""Features of particles: the input of networks that read particles one by one.

Features, shifts, scales and limits are those of the public JetClass configurations
(github.com/jet-universe/particle_transformer, data/JetClass), so that networks trained there can be
used here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

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
TANH = {"part_d0": "d0val", "part_dz": "dzval"}


@dataclass(frozen=True)
class SetRecipe:
    """What is made of the particles: the set of features, and how many particles at most."""

    features: Literal["kin", "full"] = "kin"
    maximum: int = 128

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(FEATURES[self.features])


def needed_fields(recipe: SetRecipe) -> tuple[str, ...]:
    """Fields of a particle that the features are made of."""
    if recipe.features == "kin":
        return (*MOMENTUM, "deta", "dphi")
    identity = (name.removeprefix("part_") for name in _IDENTITY)
    return (*MOMENTUM, "deta", "dphi", *identity, *TANH.values(), "d0err", "dzerr")


def _length(x: Column, y: Column, xp: Namespace) -> Column:
    """Written out, because ONNX has no hypot."""
    return xp.sqrt(x * x + y * y)


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
        if name in TANH:
            x = xp.tanh(particles[TANH[name]])
        else:
            x = made[name] if name in made else particles[name.removeprefix("part_")]
        if scaling is not None:
            x = xp.clip((x - scaling.shift) * scaling.scale, scaling.low, scaling.high)
        yield x


def _ratio(part: Column, whole: Column, xp: Namespace) -> Column:
    """Quotient, and 0 where there is no part."""
    return xp.where(part == 0, part, part / whole)
