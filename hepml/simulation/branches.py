"""Labelled jets as branches of the public JetClass schema (arXiv:2202.03772).

Units are GeV and mm. Beyond JetClass there are ``event_id`` and ``event_weight``; ``aux_genpart_*``
is the top quark before its decay, or the parton of the hard process nearest to a QCD jet.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Float, UInt64

from hepml.config import SimulationJob
from hepml.simulation.detector import detect
from hepml.simulation.generate import Events
from hepml.simulation.jets import (
    TAUS,
    Jets,
    contains_top,
    decluster,
    find_jets,
    nearest_parton,
    nsubjettiness,
    relative_to_axis,
    soft_drop_mass,
    summed_momentum,
)
from hepml.simulation.particles import (
    azimuth,
    particle_branches,
    pseudorapidity,
    transverse_momentum,
)


def accepted_jets(events: Events, job: SimulationJob, random: np.random.Generator) -> Jets:
    """Jets in the window; of the process ``top`` only those that contain a whole top.

    Args:
        events: one batch of collisions.
        job: process and settings.
        random: for the detector.
    """
    settings = job.simulation
    seen = detect(events.particles, random) if settings.detector else events.particles
    jets = find_jets(seen, len(events.weight), settings)
    if job.process == "top":
        jets = jets.keep(contains_top(jets, events.partons, settings.jet_radius))
    return jets


def jet_branches(
    jets: Jets, events: Events, identity: UInt64[np.ndarray, " events"], job: SimulationJob
) -> dict[str, Any]:
    """Everything the tree holds, one entry per jet.

    Args:
        jets: the accepted jets of one batch.
        events: the batch.
        identity: ``event_id`` of its events.
        job: process and settings.

    Returns:
        Branch name to array; all particle branches as one jagged record ``part``, so that they
        share one counter.
    """
    top = np.full(len(jets), job.process == "top")
    return {
        **measured_branches(jets, job.simulation.jet_radius),
        **_single("aux_genpart", _origin(jets, events)),
        "label_QCD": ~top,
        "label_Tbqq": top,
        "event_id": identity[jets.event],
        "event_weight": events.weight[jets.event].astype(np.float32),
    }


def measured_branches(jets: Jets, radius: float) -> dict[str, Any]:
    """What is measured on jets: their particles, as the record ``part``, and ``jet_*``.

    Particles are taken as they are stored, in single precision, so that whoever measures what is
    stored finds the same: cells of a calorimeter lie on a grid, and where two distances are equal
    rounding decides what is clustered first.

    Args:
        jets: at least one.
        radius: of the jets.
    """
    jets = _as_stored(jets)
    relative = relative_to_axis(jets)
    return {
        "part": ak.unflatten(
            ak.zip(particle_branches(jets.constituents, relative.deta, relative.dphi)),
            np.bincount(jets.constituents.owner, minlength=len(jets)),
        ),
        **_single("jet", _kinematics(jets)),
        **_single("jet", _substructure(jets, radius)),
    }


def _as_stored(jets: Jets) -> Jets:
    """Jets of particles whose momenta have single precision."""
    rounded = jets.constituents.momentum.astype(np.float32).astype(np.float64)
    constituents = replace(jets.constituents, momentum=rounded)
    return Jets(jets.event, summed_momentum(constituents, len(jets)), constituents)


def _kinematics(jets: Jets) -> dict[str, Float[np.ndarray, " jets"]]:
    return {
        "pt": transverse_momentum(jets.momentum),
        "eta": pseudorapidity(jets.momentum),
        "phi": azimuth(jets.momentum),
        "energy": jets.momentum[:, 3],
    }


def _substructure(jets: Jets, radius: float) -> dict[str, Float[np.ndarray, " jets"]]:
    declustered = decluster(jets)
    taus = nsubjettiness(declustered, radius)
    return {
        "nparticles": np.bincount(jets.constituents.owner, minlength=len(jets)).astype(np.float64),
        "sdmass": soft_drop_mass(declustered, radius),
        **{f"tau{n}": taus[:, i] for i, n in enumerate(TAUS)},
    }


def _origin(jets: Jets, events: Events) -> dict[str, Float[np.ndarray, " jets"]]:
    which = nearest_parton(jets, events.partons)
    momentum = events.partons.momentum[jets.event, which]
    return {
        "pt": transverse_momentum(momentum),
        "eta": pseudorapidity(momentum),
        "phi": azimuth(momentum),
        "pid": events.partons.pid[jets.event, which].astype(np.float64),
    }


def _single(
    prefix: str, columns: Mapping[str, Float[np.ndarray, " jets"]]
) -> dict[str, Float[np.ndarray, " jets"]]:
    """The columns with their prefix, in single precision as in JetClass."""
    return {f"{prefix}_{name}": column.astype(np.float32) for name, column in columns.items()}
