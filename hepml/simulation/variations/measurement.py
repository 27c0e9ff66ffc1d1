"""Jets measured again with FastJet, from the particles in the branches of a ntuple."""

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from hepml.simulation.branches import measured_branches
from hepml.simulation.jets import Jets, summed_momentum
from hepml.simulation.particles import FLAGS, Particles

Arrays = Mapping[str, ak.Array]


def measured_again(arrays: Arrays, radius: float) -> dict[str, Any]:
    """What is measured on the jets, and what else their tree holds.

    Args:
        arrays: by branch, of jets with at least one particle each.
        radius: of the jets.
    """
    measured = measured_branches(jets_of(arrays), radius)
    others = {n: ak.to_numpy(a) for n, a in arrays.items() if not n.startswith("part_")}
    return {"part": measured["part"]} | others | measured


def jets_of(arrays: Arrays) -> Jets:
    """Jets from the branches of their particles."""
    counts = ak.to_numpy(ak.num(arrays["part_px"]))

    def flat(name: str) -> np.ndarray:
        return ak.to_numpy(ak.flatten(arrays[f"part_{name}"], axis=1))

    def table(*names: str) -> np.ndarray:
        return np.stack([flat(name).astype(np.float64) for name in names], axis=1)

    flags = np.stack([flat(flag) for flag in FLAGS], axis=1)
    kinds = np.array([int(kind) for kind in FLAGS.values()], np.int8)
    constituents = Particles(
        owner=np.repeat(np.arange(len(counts)), counts),
        momentum=table("px", "py", "pz", "energy"),
        kind=kinds[flags.argmax(axis=1)],
        charge=flat("charge").astype(np.int8),
        impact=table("d0val", "dzval"),
        impact_error=table("d0err", "dzerr"),
    ).hardest_first()
    jets = len(counts)
    return Jets(np.arange(jets), summed_momentum(constituents, jets), constituents)
