"""Jets of a ntuple after their particles were changed.

Momentum, angles, soft-drop mass and so on follow from the particles; what was generated and what
identifies and weights an event stay. The particles of a jet are not clustered anew, so none joins
from outside, and jets are not asked again whether they lie in the window of the simulation.
"""

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float64

from hepml.data.variations import Effect

Arrays = Mapping[str, ak.Array]
MOMENTUM = ("part_px", "part_py", "part_pz", "part_energy", "jet_pt", "jet_energy", "jet_sdmass")


def varied(nominal: Arrays, changed: Arrays, effect: Effect, radius: float) -> dict[str, Any]:
    """Everything the tree holds, of jets with changed particles.

    A jet without losses whose particles were all scaled alike is its own image: momenta and masses
    are scaled, angles and N-subjettiness stay. The others are measured again with FastJet. A jet
    that lost all its particles is left out.

    Args:
        nominal: by branch.
        changed: the same with changed particles.
        effect: what was done to them.
        radius: of the jets.

    Returns:
        Branch name to array, as :func:`hepml.simulation.branches.jet_branches` gives them.
    """
    left = ak.to_numpy(ak.num(changed["part_px"])) > 0
    alike = left & scaled_alike(effect)
    parts = []
    if alike.any():
        parts.append(scaled(_chosen(nominal, alike), common_factor(effect)[alike]))
    if (left & ~alike).any():
        from hepml.simulation.variations.measurement import measured_again

        parts.append(measured_again(_chosen(changed, left & ~alike), radius))
    if not parts:
        return {}
    order = np.argsort(np.concatenate([np.flatnonzero(alike), np.flatnonzero(left & ~alike)]))
    return {name: _joined([part[name] for part in parts])[order] for name in parts[0]}


def common_factor(effect: Effect) -> Float64[np.ndarray, " events"]:
    """Factor on the first particle of each event; 1 where there is none."""
    first = np.cumsum(effect.counts) - effect.counts
    factor = np.ones(len(first))
    some = effect.counts > 0
    factor[some] = effect.factor[first[some]]
    return factor


def scaled_alike(effect: Effect) -> Bool[np.ndarray, " events"]:
    """Events without losses whose particles all have the same factor."""
    owner = np.repeat(np.arange(len(effect.counts)), effect.counts)
    other = ~effect.kept | (effect.factor != common_factor(effect)[owner])
    return np.bincount(owner[other], minlength=len(effect.counts)) == 0


def scaled(arrays: Arrays, factor: Float64[np.ndarray, " jets"]) -> dict[str, Any]:
    """Jets whose particles were all scaled by the factor of their jet."""

    def times(values: ak.Array) -> ak.Array:
        return ak.values_astype(values * factor, np.float32)

    columns = {n: times(a) if n in MOMENTUM else a for n, a in arrays.items()}
    inside = {n: a for n, a in columns.items() if n.startswith("part_")}
    part = ak.zip({name.removeprefix("part_"): values for name, values in inside.items()})
    others = {n: ak.to_numpy(a) for n, a in columns.items() if n not in inside}
    return {"part": part} | others


def _chosen(arrays: Arrays, jets: Bool[np.ndarray, " entries"]) -> dict[str, ak.Array]:
    return {name: values[jets] for name, values in arrays.items()}


def _joined(parts: list[Any]) -> Any:  # noqa: ANN401
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return ak.concatenate(parts) if len(parts) > 1 else parts[0]
