"""Call of the kernel that makes features of particles, on NumPy arrays."""

import ctypes
import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float32, Int64

from hepml.kernels.pointers import COUNT, bounds, loaded, of_arrays, threads

_JETS_PER_THREAD = 4096


class Quantity(IntEnum):
    """What a feature is made of; numbers as in sets.cpp."""

    FIELD = 0
    TANH = 1
    LENGTH = 2
    LN_PT = 3
    LN_ENERGY = 4
    LN_PT_SHARE = 5
    LN_ENERGY_SHARE = 6


class Outcome(IntEnum):
    """What came of a call; numbers as in sets.cpp."""

    DONE = 0
    PERHAPS_UNORDERED = 1
    NOT_FOR_KERNELS = 2


@dataclass(frozen=True)
class Feature:
    """(quantity - shift) * scale, cut off at ``low`` and ``high``.

    Attributes:
        quantity: what is scaled.
        columns: fields that FIELD and TANH (one) and LENGTH (two) are made of.
        shift: see above.
        scale: see above.
        low: see above.
        high: see above.
    """

    quantity: Quantity
    columns: Sequence[int] = ()
    shift: float = 0.0
    scale: float = 1.0
    low: float = -math.inf
    high: float = math.inf


class _Feature(ctypes.Structure):
    _fields_ = [
        *((name, COUNT) for name in ("quantity", "column", "other")),
        *((name, ctypes.c_float) for name in ("shift", "scale", "low", "high")),
    ]


class _Sets(ctypes.Structure):
    _fields_ = [
        *((name, COUNT) for name in ("fields", "px", "py", "pz", "energy")),
        ("feature", ctypes.c_void_p),
        *((name, COUNT) for name in ("features", "any_order", "threads")),
    ]


def particle_sets(
    values: Float32[np.ndarray, "particles fields"],
    counts: Int64[np.ndarray, " jets"],
    kept: Int64[np.ndarray, " jets"],
    momentum: Sequence[int],
    features: Sequence[Feature],
    any_order: bool,
) -> tuple[Float32[np.ndarray, "kept features"], Float32[np.ndarray, "kept 4"], Outcome]:
    """Features and momenta of the first particles of each jet; they are of use if DONE.

    PERHAPS_UNORDERED: a particle may be harder than the one before it, as far as rounding lets
    one see. NOT_FOR_KERNELS: a value is not finite or beyond 1e18, or an energy is negative.

    Args:
        values: particles of all jets, one jet after another.
        counts: particles of each jet; they sum up to the particles.
        kept: how many of them are kept.
        momentum: columns of px, py, pz and the energy.
        features: what to make.
        any_order: take particles in the order in which they come.
    """
    values = np.ascontiguousarray(values)
    first, first_kept = bounds(counts), bounds(kept)
    made = np.empty((first_kept[-1], len(features)), np.float32)
    momenta = np.empty((first_kept[-1], 4), np.float32)
    table = (_Feature * len(features))(*map(_described, features))
    sets = _Sets(values.shape[1], *momentum, ctypes.addressof(table), len(features),
                 any_order, _threads(len(counts)))  # fmt: skip
    make = loaded().particle_sets
    make.restype = COUNT
    outcome = make(ctypes.byref(sets), *of_arrays(values, first), COUNT(len(counts)),
                   *of_arrays(first_kept, made, momenta))  # fmt: skip
    return made, momenta, Outcome(outcome)


def _threads(jets: int) -> int:
    """None but this one for a batch: others would take longer to come than to help."""
    return max(1, min(threads().value, jets // _JETS_PER_THREAD))


def _described(feature: Feature) -> _Feature:
    column, other = (*feature.columns, 0, 0)[:2]
    scaling = feature.shift, feature.scale, feature.low, feature.high
    return _Feature(feature.quantity, column, other, *scaling)
