"""Particles of many events as flat arrays: what generator, detector and jet finder exchange."""

from dataclasses import dataclass, fields
from enum import IntEnum

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float, Int, Shaped


class Kind(IntEnum):
    """What a detector can tell apart."""

    CHARGED_HADRON = 0
    NEUTRAL_HADRON = 1
    PHOTON = 2
    ELECTRON = 3
    MUON = 4


FLAGS = {
    "isChargedHadron": Kind.CHARGED_HADRON,
    "isNeutralHadron": Kind.NEUTRAL_HADRON,
    "isPhoton": Kind.PHOTON,
    "isElectron": Kind.ELECTRON,
    "isMuon": Kind.MUON,
}  # branches of JetClass


@dataclass(frozen=True)
class Particles:
    """Visible particles, one row each.

    Attributes:
        owner: number of the event (or jet) a particle belongs to.
        momentum: px, py, pz, E [GeV].
        kind: a :class:`Kind`.
        charge: in units of the elementary charge.
        impact: transverse and longitudinal impact parameter d0, dz [mm]; 0 without a track.
        impact_error: their resolution [mm]; 0 without a track.
    """

    owner: Int[np.ndarray, " particles"]
    momentum: Float[np.ndarray, "particles 4"]
    kind: Int[np.ndarray, " particles"]
    charge: Int[np.ndarray, " particles"]
    impact: Float[np.ndarray, "particles 2"]
    impact_error: Float[np.ndarray, "particles 2"]

    def __getitem__(
        self, rows: Bool[np.ndarray, " particles"] | Int[np.ndarray, " chosen"]
    ) -> "Particles":
        return Particles(*(getattr(self, field.name)[rows] for field in fields(self)))

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def pt(self) -> Float[np.ndarray, " particles"]:
        """Transverse momentum [GeV]."""
        return transverse_momentum(self.momentum)

    @property
    def eta(self) -> Float[np.ndarray, " particles"]:
        """Pseudorapidity."""
        return pseudorapidity(self.momentum)

    @property
    def phi(self) -> Float[np.ndarray, " particles"]:
        """Azimuth in (-π, π]."""
        return azimuth(self.momentum)

    @staticmethod
    def join(parts: list["Particles"]) -> "Particles":
        """All rows of several, one after another."""
        names = [field.name for field in fields(Particles)]
        return Particles(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in names)
        )

    def hardest_first(self) -> "Particles":
        """The same rows ordered by owner, and by falling pT within one owner."""
        return self[np.lexsort((-self.pt, self.owner))]

    def jagged(self, owners: int) -> ak.Array:
        """Momenta as ``owners * var * Momentum4D``, for rows ordered by owner.

        Args:
            owners: how many events or jets there are, those without particles included.
        """
        names = ("px", "py", "pz", "E")
        columns = {name: self.momentum[:, i].astype(np.float64) for i, name in enumerate(names)}
        flat = ak.zip(columns, with_name="Momentum4D")
        return ak.unflatten(flat, np.bincount(self.owner, minlength=owners))


@dataclass(frozen=True)
class Partons:
    """What the two outgoing partons of each hard process were.

    Attributes:
        momentum: px, py, pz, E [GeV]; of a top quark just before it decays.
        pid: PDG number.
        decay: momenta of the quarks a top decays to (b, q, q'); no entries for QCD partons.
    """

    momentum: Float[np.ndarray, "events 2 4"]
    pid: Int[np.ndarray, "events 2"]
    decay: Float[np.ndarray, "events 2 quarks 4"]


def particle_branches(
    inside: Particles, deta: Float[np.ndarray, " particles"], dphi: Float[np.ndarray, " particles"]
) -> dict[str, Shaped[np.ndarray, " particles"]]:
    """Branches ``part_*`` of JetClass without their prefix, flat over all constituents.

    Args:
        inside: the constituents of all jets.
        deta: their η from the axis of their jet.
        dphi: their φ from it.
    """
    columns = {
        "px": inside.momentum[:, 0],
        "py": inside.momentum[:, 1],
        "pz": inside.momentum[:, 2],
        "energy": inside.momentum[:, 3],
        "deta": deta,
        "dphi": dphi,
        "d0val": inside.impact[:, 0],
        "d0err": inside.impact_error[:, 0],
        "dzval": inside.impact[:, 1],
        "dzerr": inside.impact_error[:, 1],
        "charge": inside.charge,
    }
    single = {name: column.astype(np.float32) for name, column in columns.items()}
    return single | {name: inside.kind == kind for name, kind in FLAGS.items()}


def transverse_momentum(momentum: Float[np.ndarray, "*rows 4"]) -> Float[np.ndarray, "*rows"]:
    """Transverse momentum [GeV] of px, py, pz, E."""
    return np.hypot(momentum[..., 0], momentum[..., 1])


def pseudorapidity(momentum: Float[np.ndarray, "*rows 4"]) -> Float[np.ndarray, "*rows"]:
    """Pseudorapidity of px, py, pz, E; infinite along the beam, undefined (NaN) at rest."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arcsinh(momentum[..., 2] / transverse_momentum(momentum))


def azimuth(momentum: Float[np.ndarray, "*rows 4"]) -> Float[np.ndarray, "*rows"]:
    """Azimuth of px, py, pz, E in (-π, π]."""
    return np.arctan2(momentum[..., 1], momentum[..., 0])


def azimuth_difference(
    one: Float[np.ndarray, "*rows"], other: Float[np.ndarray, "*rows"]
) -> Float[np.ndarray, "*rows"]:
    """Angle from ``other`` to ``one`` the short way round, in [-π, π)."""
    return (one - other + np.pi) % (2 * np.pi) - np.pi


def angular_distance(
    one: Float[np.ndarray, "*rows 4"], other: Float[np.ndarray, "*rows 4"]
) -> Float[np.ndarray, "*rows"]:
    """ΔR = √(Δη² + Δφ²) between momenta."""
    deta = pseudorapidity(one) - pseudorapidity(other)
    return np.hypot(deta, azimuth_difference(azimuth(one), azimuth(other)))
