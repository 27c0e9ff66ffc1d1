"""Collisions from Pythia 8 (arXiv:2203.11601): hard process, showers, hadrons.

Leading-order matrix elements, Pythia's default tune and parton densities. Top quarks decay to
hadrons only, so the cross-section is that of the all-hadronic channel, branching included.
"""

from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
import pythia8mc
from jaxtyping import Float, Int

from hepml.config import Simulation, SimulationJob
from hepml.simulation.particles import Kind, Particles, Partons

NEUTRINOS = (12, 14, 16)
HARD_OUTGOING = 23  # Pythia's status: outgoing of the hard process, or of a resonance decay in it
MILLIBARN = 1e9  # pb
PROCESS = {
    "qcd": ["HardQCD:all = on"],
    "top": [
        "Top:gg2ttbar = on",
        "Top:qqbar2ttbar = on",
        "24:onMode = off",
        "24:onIfAny = 1 2 3 4 5",
    ],
}


@dataclass(frozen=True)
class Events:
    """Collisions that were generated to the end; the others had no chance of an accepted jet.

    Attributes:
        particles: stable visible particles, ordered by event.
        partons: of the hard process.
        weight: generator weight.
    """

    particles: Particles
    partons: Partons
    weight: Float[np.ndarray, " events"]


@dataclass(frozen=True)
class Normalisation:
    """What turns weights into cross-sections: σ · Σ(accepted weights) / sum_of_weights.

    Attributes:
        cross_section: of the generated phase space [pb].
        cross_section_error: statistical [pb].
        sum_of_weights: over all generated events.
        generated_events: before any selection.
    """

    cross_section: float
    cross_section_error: float
    sum_of_weights: float
    generated_events: int


class Collisions:
    """A stream of collisions; the same job gives the same stream.

    Args:
        job: process, seed and settings.
        hook: a ``pythia8mc.UserHooks``; what it vetoes still counts in the normalisation.
    """

    def __init__(self, job: SimulationJob, hook: Any = None) -> None:  # noqa: ANN401
        self._process = job.process
        self._pythia = pythia8mc.Pythia("", False)  # no banner
        for line in _settings(job.simulation, job.seed) + PROCESS[job.process]:
            if not self._pythia.readString(line):
                raise ValueError(f"Pythia does not know the setting {line!r}")
        self._hook = hook  # Pythia does not keep the Python object alive
        if hook is not None:
            self._pythia.setUserHooksPtr(hook)
        if not self._pythia.init():
            raise ValueError(f"Pythia cannot start with {job.simulation}; its log says why")

    def batch(self, events: int) -> Events:
        """Generate collisions until ``events`` were neither vetoed nor failed in Pythia."""
        record = self._pythia.nextBatch(events)
        return Events(
            particles=self._visible(record.prt),
            partons=_tops(record.prt) if self._process == "top" else _outgoing(record.prt),
            weight=ak.to_numpy(record.info.weights[:, 0]).astype(np.float64),
        )

    def normalisation(self) -> Normalisation:
        """Cross-section and Σ weights of all collisions so far, vetoed ones included.

        Events are unweighted, so Σ weights counts the hard processes. Pythia's σ is that of the
        surviving ones and its error has their binomial variance in it; both are undone here.
        """
        info = self._pythia.infoPython()
        started, survived = info.nSelected(), info.nAccepted()
        cross_section = info.sigmaGen() * MILLIBARN * started / survived
        relative_variance = (info.sigmaErr() / info.sigmaGen()) ** 2
        relative_variance -= (started - survived) / (started * survived)
        return Normalisation(
            cross_section=cross_section,
            cross_section_error=cross_section * max(relative_variance, 0.0) ** 0.5,
            sum_of_weights=float(started),
            generated_events=started,
        )

    def _visible(self, record: ak.Array) -> Particles:
        """Stable particles that are no neutrinos, ordered by event."""
        counts = ak.to_numpy(ak.num(record))
        flat = ak.flatten(record)
        pid = ak.to_numpy(flat.id)
        visible = (ak.to_numpy(flat.status) > 0) & ~np.isin(np.abs(pid), NEUTRINOS)
        final, pid = flat[visible], pid[visible]
        momentum = _momentum(final)
        species, index = np.unique(pid, return_inverse=True)
        data = self._pythia.particleData
        charge = np.array([round(data.charge(int(each))) for each in species], np.int8)[index]
        vertex = ak.fill_none(final.vProd, {"px": 0.0, "py": 0.0, "pz": 0.0, "e": 0.0})
        impact = impact_parameters(momentum, _momentum_like(vertex)[:, :3])
        impact[charge == 0] = 0
        return Particles(
            owner=np.repeat(np.arange(len(counts)), counts)[visible],
            momentum=momentum,
            kind=kinds(pid, charge),
            charge=charge,
            impact=impact,
            impact_error=np.zeros_like(impact),
        )


def impact_parameters(
    momentum: Float[np.ndarray, "particles 4"], vertex: Float[np.ndarray, "particles 3"]
) -> Float[np.ndarray, "particles 2"]:
    """Distance of closest approach to the beam line, of straight lines (no magnetic field).

    Args:
        momentum: px, py, pz, E.
        vertex: where the particle was made: x, y, z [mm].

    Returns:
        d0 = (x py - y px) / pT with its sign, and z at the closest approach [mm].
    """
    px, py, pz, _ = momentum.T
    x, y, z = vertex.T
    pt = np.maximum(np.hypot(px, py), 1e-9)  # along the beam there is no closest point
    along = (x * px + y * py) / pt
    return np.stack([(x * py - y * px) / pt, z - along * pz / pt], axis=1)


def kinds(
    pid: Int[np.ndarray, " particles"], charge: Int[np.ndarray, " particles"]
) -> Int[np.ndarray, " particles"]:
    """The :class:`Kind` of stable particles by PDG number and charge."""
    kind = np.where(charge != 0, Kind.CHARGED_HADRON, Kind.NEUTRAL_HADRON).astype(np.int8)
    kind[pid == 22] = Kind.PHOTON
    kind[np.abs(pid) == 11] = Kind.ELECTRON
    kind[np.abs(pid) == 13] = Kind.MUON
    return kind


def _settings(simulation: Simulation, seed: int) -> list[str]:
    interactions = "on" if simulation.multiparton_interactions else "off"
    return [
        "Print:quiet = on",
        "Random:setSeed = on",
        f"Random:seed = {seed}",
        f"Beams:eCM = {simulation.collision_energy}",
        f"PhaseSpace:pTHatMin = {simulation.pt_hat[0]}",
        f"PhaseSpace:pTHatMax = {simulation.pt_hat[1]}",
        f"PartonLevel:MPI = {interactions}",
    ]


def _outgoing(record: ak.Array) -> Partons:
    """The two partons a 2 → 2 process ends in."""
    hard = record[np.abs(record.status) == HARD_OUTGOING]
    momentum = _momentum(ak.flatten(hard)).reshape(-1, 2, 4)
    pid = ak.to_numpy(ak.flatten(hard.id)).reshape(-1, 2)
    return Partons(momentum, pid, decay=np.zeros((len(pid), 2, 0, 4)))


def _tops(record: ak.Array) -> Partons:
    """Top and antitop with the three quarks of each: b by its mother t, q and q' by theirs, W."""
    quarks = record[np.abs(record.status) == HARD_OUTGOING]
    mother = record.id[quarks.mother1]
    from_antitop = mother < 0  # t̄ or W⁻
    quarks = quarks[ak.argsort(from_antitop, stable=True)]  # those of the top first
    decay = _momentum(ak.flatten(quarks)).reshape(-1, 2, 3, 4)
    pid = np.broadcast_to(np.array([6, -6]), decay.shape[:2])
    return Partons(decay.sum(axis=2), pid, decay)


def _momentum(flat: ak.Array) -> Float[np.ndarray, "particles 4"]:
    return _momentum_like(flat.p)


def _momentum_like(flat: ak.Array) -> Float[np.ndarray, "particles 4"]:
    return np.stack([ak.to_numpy(flat[name]) for name in ("px", "py", "pz", "e")], axis=1)
