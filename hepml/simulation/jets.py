"""Jets from particles with FastJet (arXiv:1111.6097), and what is measured on them."""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import fastjet
import numpy as np
import vector
from jaxtyping import Bool, Float, Int

from hepml.config import Simulation
from hepml.simulation.particles import (
    Particles,
    Partons,
    angular_distance,
    azimuth,
    azimuth_difference,
    pseudorapidity,
    transverse_momentum,
)

vector.register_awkward()

Declustered = Any  # FastJet's sequence of clusterings; its classes have no common base

Z_CUT, BETA = 0.1, 0.0  # soft drop; β = 0 is the modified mass-drop tagger
TAUS = (1, 2, 3, 4)
EVERYTHING = 10.0  # a radius at which Cambridge/Aachen makes one jet of all it is given


@dataclass(frozen=True)
class Jets:
    """Jets with their constituents.

    Attributes:
        event: number of the event a jet comes from.
        momentum: px, py, pz, E [GeV], the sum over the constituents.
        constituents: their ``owner`` is the number of the jet; ordered by jet, then falling pT.
    """

    event: Int[np.ndarray, " jets"]
    momentum: Float[np.ndarray, "jets 4"]
    constituents: Particles

    def __len__(self) -> int:
        return len(self.event)

    def keep(self, chosen: Bool[np.ndarray, " jets"]) -> "Jets":
        """Only the chosen jets, numbered anew."""
        number = np.cumsum(chosen) - 1
        inside = self.constituents[chosen[self.constituents.owner]]
        renumbered = Particles(
            number[inside.owner],
            inside.momentum,
            inside.kind,
            inside.charge,
            inside.impact,
            inside.impact_error,
        )
        return Jets(self.event[chosen], self.momentum[chosen], renumbered)


@dataclass(frozen=True)
class Relative:
    """Constituents seen from the axis of their jet.

    Attributes:
        deta: η minus that of the jet, times the sign of the jet's η, as in JetClass.
        dphi: φ minus that of the jet, in [-π, π).
    """

    deta: Float[np.ndarray, " particles"]
    dphi: Float[np.ndarray, " particles"]


def find_jets(particles: Particles, events: int, simulation: Simulation) -> Jets:
    """Anti-kT jets (arXiv:0802.1189) inside the window of pT and |η|.

    Args:
        particles: ordered by event.
        events: how many events there are.
        simulation: radius and window.
    """
    lowest, highest = simulation.jet_pt
    jagged = particles.jagged(events)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, simulation.jet_radius)
    clusters = fastjet.ClusterSequence(jagged, definition)
    inside = clusters.constituent_index(min_pt=lowest)
    found = ak.to_numpy(ak.num(inside))  # jets per event
    counts = ak.to_numpy(ak.num(ak.flatten(inside, axis=1)))
    event = np.repeat(np.arange(events), found)
    owner = np.repeat(np.arange(len(event)), counts)
    first = np.cumsum(ak.to_numpy(ak.num(jagged))) - ak.to_numpy(ak.num(jagged))
    rows = ak.to_numpy(ak.flatten(inside, axis=None)).astype(np.int64) + first[event[owner]]
    chosen = particles[rows]
    constituents = Particles(
        owner, chosen.momentum, chosen.kind, chosen.charge, chosen.impact, chosen.impact_error
    ).hardest_first()
    jets = Jets(event, summed_momentum(constituents, len(event)), constituents)
    pt, eta = transverse_momentum(jets.momentum), pseudorapidity(jets.momentum)
    return jets.keep((pt > lowest) & (pt < highest) & (np.abs(eta) < simulation.jet_eta))


def summed_momentum(particles: Particles, owners: int) -> Float[np.ndarray, "owners 4"]:
    """Sum of the momenta of each owner [GeV]."""
    columns = [np.bincount(particles.owner, x, minlength=owners) for x in particles.momentum.T]
    return np.stack(columns, axis=1).astype(np.float64)  # of no particles, bincount gives integers


def contains_top(jets: Jets, partons: Partons, radius: float) -> Bool[np.ndarray, " jets"]:
    """Whether all three decay quarks of one top lie within ``radius`` of the jet axis.

    Args:
        jets: their ``event`` counts the rows of ``partons``.
        partons: the tops and their decay quarks.
        radius: of the jets.
    """
    quarks = partons.decay[jets.event]  # (jets, 2 tops, 3 quarks, 4)
    axis = np.broadcast_to(jets.momentum[:, None, None, :], quarks.shape)
    captured = angular_distance(quarks, axis) < radius
    return np.any(np.all(captured, axis=2), axis=1)


def nearest_parton(jets: Jets, partons: Partons) -> Int[np.ndarray, " jets"]:
    """Which of the two outgoing partons (0 or 1) is nearest to the jet axis in (η, φ)."""
    momentum = partons.momentum[jets.event]
    axis = np.broadcast_to(jets.momentum[:, None, :], momentum.shape)
    return np.argmin(angular_distance(momentum, axis), axis=1)


def decluster(jets: Jets) -> Declustered:
    """Cluster each jet's constituents again with Cambridge/Aachen, into one jet each.

    Args:
        jets: at least one.
    """
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, EVERYTHING)
    return fastjet.ClusterSequence(jets.constituents.jagged(len(jets)), definition)


def soft_drop_mass(declustered: Declustered, radius: float) -> Float[np.ndarray, " jets"]:
    """Mass after soft drop (arXiv:1402.2657), z_cut = 0.1, β = 0 [GeV]."""
    groomed = declustered.exclusive_jets_softdrop_grooming(
        njets=1, beta=BETA, symmetry_cut=Z_CUT, R0=radius
    )
    return ak.to_numpy(groomed.msoftdrop)


def nsubjettiness(declustered: Declustered, radius: float) -> Float[np.ndarray, "jets 4"]:
    """τ₁ to τ₄ (arXiv:1011.2268), β = 1, on winner-take-all kT axes, divided by Σ pT · R."""
    taus = declustered.njettiness(
        measure_definition="NormalizedMeasure",
        axes_definition="WTA_KT_Axes",
        njets=list(TAUS),
        beta=1.0,
        R0=radius,
    )
    return np.asarray(taus).reshape(-1, len(TAUS))


def relative_to_axis(jets: Jets) -> Relative:
    """Constituents seen from the axis of their jet."""
    inside = jets.constituents
    eta, phi = pseudorapidity(jets.momentum), azimuth(jets.momentum)
    sign = np.where(eta > 0, 1.0, -1.0)[inside.owner]
    return Relative(
        deta=(inside.eta - eta[inside.owner]) * sign,
        dphi=azimuth_difference(inside.phi, phi[inside.owner]),
    )
