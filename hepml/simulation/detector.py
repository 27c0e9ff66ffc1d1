"""An idealised detector: not Delphes, and not tuned to any experiment.

Every particle is seen once, by the device that measures it best (an ideal particle flow):

- charged particles with |η| < 2.5 and pT > 0.5 GeV leave a track with probability 0.95
  (0.92 beyond |η| = 1.5). σ(pT)/pT = 1 % ⊕ 1.5·10⁻⁴ pT/GeV; directions are exact.
  σ(d0) = σ(dz) = 0.02 mm ⊕ 0.1 mm·GeV/pT.
- photons, and electrons without a track, are summed in cells of 0.025 × 0.025 in (η, φ) with
  σ(E)/E = 10 %/√(E/GeV) ⊕ 0.7 % and come out as photons.
- neutral hadrons, and charged hadrons without a track, are summed in cells of 0.1 × 0.1 with
  σ(E)/E = 55 %/√(E/GeV) ⊕ 3 % and come out as neutral hadrons.
- muons without a track, and whatever is beyond |η| = 5, are lost.

Cells are massless and point to their centre; their energies follow a log-normal distribution,
which keeps the mean and is never negative. There is no magnetic field, no material, no noise, no
pile-up and no confusion between kinds.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from hepml.simulation.particles import Kind, Particles

TRACKER_ETA = 2.5
TRACKER_PT = 0.5  # GeV
BARREL_ETA = 1.5
CALORIMETER_ETA = 5.0


@dataclass(frozen=True)
class Calorimeter:
    """Cells of one calorimeter: their size in (η, φ) and σ(E)/E = stochastic/√E ⊕ constant."""

    cell: float
    stochastic: float
    constant: float
    kind: Kind

    def resolution(self, energy: Float[np.ndarray, " cells"]) -> Float[np.ndarray, " cells"]:
        """Relative resolution at an energy [GeV]."""
        return np.hypot(self.stochastic / np.sqrt(energy), self.constant)


ELECTROMAGNETIC = Calorimeter(0.025, 0.10, 0.007, Kind.PHOTON)
HADRONIC = Calorimeter(0.1, 0.55, 0.03, Kind.NEUTRAL_HADRON)


def detect(truth: Particles, random: np.random.Generator) -> Particles:
    """What the detector makes of stable particles.

    Args:
        truth: stable particles, ordered by owner.
        random: where efficiencies and resolutions draw from.

    Returns:
        Tracks and calorimeter cells, ordered by owner.
    """
    tracked = leaves_track(truth, random)
    in_calorimeter = ~tracked & (np.abs(truth.eta) < CALORIMETER_ETA)
    showers = np.isin(truth.kind, (Kind.PHOTON, Kind.ELECTRON))
    hadrons = np.isin(truth.kind, (Kind.CHARGED_HADRON, Kind.NEUTRAL_HADRON))
    seen = Particles.join(
        [
            measure_tracks(truth[tracked], random),
            measure_cells(truth[in_calorimeter & showers], ELECTROMAGNETIC, random),
            measure_cells(truth[in_calorimeter & hadrons], HADRONIC, random),
        ]
    )
    return seen[np.argsort(seen.owner, kind="stable")]


def leaves_track(truth: Particles, random: np.random.Generator) -> Bool[np.ndarray, " particles"]:
    """Draw which particles are tracked."""
    eta = np.abs(truth.eta)
    accepted = (truth.charge != 0) & (eta < TRACKER_ETA) & (truth.pt > TRACKER_PT)
    return accepted & (random.random(len(truth)) < tracking_efficiency(eta))


def tracking_efficiency(eta: Float[np.ndarray, " particles"]) -> Float[np.ndarray, " particles"]:
    """Probability that a charged particle inside the acceptance leaves a track."""
    return np.where(np.abs(eta) < BARREL_ETA, 0.95, 0.92)


def track_resolution(pt: Float[np.ndarray, " particles"]) -> Float[np.ndarray, " particles"]:
    """σ(pT)/pT of a track at pT [GeV]."""
    return np.hypot(0.01, 1.5e-4 * pt)


def impact_resolution(pt: Float[np.ndarray, " particles"]) -> Float[np.ndarray, " particles"]:
    """σ(d0) and σ(dz) [mm] of a track at pT [GeV]."""
    return np.hypot(0.02, 0.1 / pt)


def measure_tracks(truth: Particles, random: np.random.Generator) -> Particles:
    """Smear momenta and impact parameters; directions and masses stay."""
    factor = 1 + track_resolution(truth.pt) * random.standard_normal(len(truth))
    factor = np.maximum(factor, 0.01)  # a 100 TeV track could come out backwards
    three = truth.momentum[:, :3]
    mass_squared = truth.momentum[:, 3] ** 2 - np.sum(three**2, axis=1)
    three = three * factor[:, None]
    energy = np.sqrt(np.sum(three**2, axis=1) + np.maximum(mass_squared, 0))
    error = np.repeat(impact_resolution(truth.pt)[:, None], 2, axis=1)
    return Particles(
        owner=truth.owner,
        momentum=np.column_stack([three, energy]),
        kind=truth.kind,
        charge=truth.charge,
        impact=truth.impact + error * random.standard_normal(error.shape),
        impact_error=error,
    )


def measure_cells(
    truth: Particles, calorimeter: Calorimeter, random: np.random.Generator
) -> Particles:
    """Sum energies in cells and smear the sums.

    Args:
        truth: particles with |η| < 5.
        calorimeter: cells and resolution.
        random: where the resolution draws from.

    Returns:
        One massless neutral particle per cell that was hit, ordered by owner.
    """
    phi_cells = round(2 * np.pi / calorimeter.cell)
    eta_cells = round(2 * CALORIMETER_ETA / calorimeter.cell)
    phi_width = 2 * np.pi / phi_cells
    column = np.floor((truth.eta + CALORIMETER_ETA) / calorimeter.cell).astype(np.int64)
    row = np.floor((truth.phi + np.pi) / phi_width).astype(np.int64) % phi_cells
    number = (truth.owner.astype(np.int64) * eta_cells + column) * phi_cells + row
    cells, hit = np.unique(number, return_inverse=True)
    energy = np.bincount(hit, truth.momentum[:, 3], minlength=len(cells))
    energy = energy.astype(np.float64)  # without any particle, bincount gives integers
    energy = smear(energy, calorimeter.resolution(energy), random)
    eta = (cells // phi_cells % eta_cells + 0.5) * calorimeter.cell - CALORIMETER_ETA
    phi = (cells % phi_cells + 0.5) * phi_width - np.pi
    pt = energy / np.cosh(eta)
    nothing = np.zeros((len(cells), 2))
    return Particles(
        owner=cells // (phi_cells * eta_cells),
        momentum=np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), energy], axis=1),
        kind=np.full(len(cells), calorimeter.kind, np.int8),
        charge=np.zeros(len(cells), np.int8),
        impact=nothing,
        impact_error=nothing,
    )


def smear(
    energy: Float[np.ndarray, " cells"],
    resolution: Float[np.ndarray, " cells"],
    random: np.random.Generator,
) -> Float[np.ndarray, " cells"]:
    """Log-normal with mean ``energy`` and relative standard deviation ``resolution``."""
    variance = np.log1p(resolution**2)
    return energy * np.exp(np.sqrt(variance) * random.standard_normal(len(energy)) - variance / 2)
