"""Give up early on collisions that cannot end in an accepted jet.

Showering and hadronising a collision takes Pythia most of its time in soft emissions, which do not
move the jet pT by much. So the evolution is interrupted at 12 GeV, where an event has a dozen
partons and a tenth of its cost is spent. A jet holds what lies within R of its axis, so within 2R
of its hardest parton: if no such cone reaches the window minus a margin, later emissions (each
below 12 GeV) and the detector cannot lift a jet into it. Vetoed collisions stay counted in
Σ weights, with no accepted jet. It makes a file about 1.3 times as fast.

The loss is measured in ``tests/simulation/test_veto.py``; it is below 10⁻³ of the jets.
"""

import math
from typing import Any, NamedTuple

import pythia8mc

from hepml.config import Simulation

SCALE = 12.0  # GeV, where the evolution is interrupted
DETECTOR = 0.015  # relative; how far the measured pT may come out too high
UNDERLYING_EVENT = 20.0  # GeV that multiparton interactions may add to a jet
TOP = 6


class Parton(NamedTuple):
    """A parton of an unfinished event; plain floats, since NumPy is slow on a dozen partons."""

    px: float
    py: float
    eta: float
    phi: float


def hardest_cone(partons: list[Parton], seeds: list[Parton], radius: float) -> float:
    """Largest pT [GeV] of the summed partons around any seed; 0 without a seed.

    Args:
        partons: what is summed.
        seeds: those among them to take as centres of a cone.
        radius: of the cone in (η, φ).
    """
    hardest = 0.0
    for seed in seeds:
        px = py = 0.0
        for parton in partons:
            dphi = abs(parton.phi - seed.phi)
            dphi = min(dphi, 2 * math.pi - dphi)
            if (parton.eta - seed.eta) ** 2 + dphi**2 < radius**2:
                px += parton.px
                py += parton.py
        hardest = max(hardest, math.hypot(px, py))
    return hardest


class OnlyHopeful(pythia8mc.UserHooks):  # type: ignore[misc]  # the bindings have no types
    """A Pythia user hook that vetoes collisions without a chance of an accepted jet.

    Args:
        simulation: gives the window of the jets.
        tops_only: cones are put around top quarks only.

    Attributes:
        needed: pT [GeV] that a cone must reach for the collision to go on.
    """

    def __init__(self, simulation: Simulation, tops_only: bool) -> None:
        super().__init__()
        lowest = simulation.jet_pt[0]
        underlying = UNDERLYING_EVENT * simulation.multiparton_interactions
        self.needed = (1 - DETECTOR) * lowest - SCALE - underlying
        self._seed_pt = 0.1 * lowest
        self._seed_eta = simulation.jet_eta + simulation.jet_radius
        self._radius = 2 * simulation.jet_radius
        self._tops_only = tops_only

    def canVetoPT(self) -> bool:  # noqa: N802  # Pythia's name
        """Yes."""
        return True

    def scaleVetoPT(self) -> float:  # noqa: N802
        """Where the evolution is interrupted [GeV]."""
        return SCALE

    def doVetoPT(self, position: int, event: Any) -> bool:  # noqa: N802, ANN401
        """Whether to give up on this collision; resonance decays (position 5) always go on."""
        return position != 5 and self.reach(event) < self.needed

    def reach(self, event: Any) -> float:  # noqa: ANN401
        """Largest pT [GeV] of the cones in Pythia's event record."""
        partons, seeds = [], []
        for i in range(event.size()):
            entry = event[i]
            if entry.isFinal():
                parton = Parton(entry.px(), entry.py(), entry.eta(), entry.phi())
                partons.append(parton)
                central = abs(parton.eta) < self._seed_eta
                hard = math.hypot(parton.px, parton.py) > self._seed_pt
                if central and hard and (not self._tops_only or abs(entry.id()) == TOP):
                    seeds.append(parton)
        return hardest_cone(partons, seeds, self._radius)
