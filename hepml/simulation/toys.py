"""Analytic toys as branches, with their exact log-likelihood ratio.

Toys of eight variables have the branches ``x0`` to ``x7``; that of a signal that interferes has a
second ratio, ``exact_sbi_llr`` of signal and background together to background.

Jets of two prongs have the particle branches of JetClass: massless neutral particles, all of the
same transverse momentum, around the axis η = φ = 0. So ``part_deta`` and ``part_dphi`` are η and φ
themselves, and images need no step to be centred: any step would move the particles by an amount
that the exact ratio of an image does not know about.
"""

from typing import Any

import awkward as ak
import numpy as np

from hepml.config import SimulationJob
from hepml.data import interfering, oracle, two_prong
from hepml.simulation.particles import Kind, Particles, particle_branches

_KINDS: dict[str, interfering.Kind] = {
    "toy_signal": "signal",
    "toy_sbi": "sbi",
    "toy_background": "background",
}
PARTICLE_PT = 5.0  # GeV; about 100 GeV for a jet


def toy_branches(job: SimulationJob, random: np.random.Generator) -> dict[str, Any]:
    """Variables or particles of ``job.events`` events and their exact ratio.

    Args:
        job: process and settings.
        random: where events are drawn from.

    Returns:
        Branch name to array: ``exact_llr`` among them and, for jets, ``exact_image_llr`` of the
        numbers of particles in 16 × 16 pixels of half width 0.8.
    """
    toy, signal = job.simulation.toy, job.process == "toy_signal"
    if toy == "two_prong":
        return _jet_branches(two_prong.draw(signal, job.events, random))
    if toy == "interference":
        x = interfering.draw(_KINDS[job.process], job.events, random)
        exact = {
            "exact_llr": interfering.exact_llr("signal", x),
            "exact_sbi_llr": interfering.exact_llr("sbi", x),
        }
    else:
        x = oracle.draw(toy, signal, job.events, random)
        exact = {"exact_llr": oracle.exact_llr(toy, x)}
    return dict(zip(oracle.NAMES, x.T, strict=True)) | exact


def _jet_branches(jets: two_prong.ToyJets) -> dict[str, Any]:
    """The columns of the tree; all particle branches as one jagged record ``part``."""
    deta, dphi = jets.position.T
    inside = _particles(jets)
    images = two_prong.count_in_pixels(jets)
    return {
        "part": ak.unflatten(ak.zip(particle_branches(inside, deta, dphi)), jets.counts),
        "jet_nparticles": jets.counts.astype(np.float32),
        "exact_llr": two_prong.exact_llr(jets),
        "exact_image_llr": two_prong.exact_image_llr(images),
    }


def _particles(jets: two_prong.ToyJets) -> Particles:
    """Massless neutral particles without a track."""
    eta, phi = jets.position.astype(np.float64).T
    direction = [np.cos(phi), np.sin(phi), np.sinh(eta), np.cosh(eta)]
    particles = len(eta)
    return Particles(
        owner=np.repeat(np.arange(len(jets.counts)), jets.counts),
        momentum=PARTICLE_PT * np.stack(direction, axis=1),
        kind=np.full(particles, Kind.PHOTON, np.int8),
        charge=np.zeros(particles, np.int8),
        impact=np.zeros((particles, 2)),
        impact_error=np.zeros((particles, 2)),
    )
