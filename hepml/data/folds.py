"""Event identities and the folds made from them.

A fold depends on the identity of the event alone: not on the file, its order, the sample or the
selection. Jets of one event share its fold.
"""

from collections.abc import Sequence

import awkward as ak
import numpy as np
from jaxtyping import Float, Int8, Integer, UInt64

from hepml.data.functions import leaf_dtype
from hepml.errors import InputError

Identity = Integer[np.ndarray, " events"] | Float[np.ndarray, " events"]


def event_ids(branches: Sequence[Identity]) -> UInt64[np.ndarray, " events"]:
    """One number per event from the branches that identify it.

    A single branch of whole numbers is kept as it is, so that ids stay recognisable. Otherwise
    the branches (the bits of floating-point ones) are hashed one after another: with N events the
    chance that any two collide is N²/2⁶⁵.

    Args:
        branches: for instance run, luminosity block and event number.
    """
    if len(branches) == 1 and np.issubdtype(branches[0].dtype, np.integer):
        return branches[0].astype(np.uint64)
    ids = np.zeros(len(branches[0]), np.uint64)
    for branch in branches:
        ids = splitmix64(ids ^ bits(branch))
    return ids


def one_number_per_event(name: str, values: ak.Array) -> Identity:
    """A branch of the identity; Delphes stores one number as a list of one.

    Args:
        name: of the branch, for messages.
        values: ``events * number`` or ``events * 1 * number``.

    Raises:
        InputError: if it is not one finite number per event.
    """
    if values.ndim == 2 and ak.all(ak.num(values, axis=1) == 1):
        values = ak.flatten(values, axis=1)
    if values.ndim > 1 or leaf_dtype(values) is None:
        raise InputError(f"data.schema.identity: branch {name!r} is not one number per event")
    numbers = ak.to_numpy(values)
    broken = np.flatnonzero(~np.isfinite(numbers))
    if broken.size:
        raise InputError(
            f"data.schema.identity: branch {name!r} is NaN or infinite in {broken.size} events"
        )
    return numbers


def assign_folds(ids: UInt64[np.ndarray, " events"], folds: int) -> Int8[np.ndarray, " events"]:
    """Fold of each event, uniform over 0 .. folds - 1 whatever the ids look like."""
    return (splitmix64(ids) % np.uint64(folds)).astype(np.int8)


def distinct(ids: Sequence[UInt64[np.ndarray, " _"]]) -> UInt64[np.ndarray, " events"]:
    """Ids of the events of several samples one after another: no two samples share one.

    They number the events of their sample, and those of two samples are different events.
    """
    numbers = splitmix64(np.arange(len(ids), dtype=np.uint64))
    parts = [splitmix64(np.asarray(each)) ^ numbers[k] for k, each in enumerate(ids)]
    return np.concatenate(parts)


def splitmix64(x: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """Mix 64 bits so that each input bit changes every output bit with probability 1/2.

    SplitMix64 of Steele, Lea and Flood (doi:10.1145/2660193.2660195); a bijection, so different
    inputs stay different.
    """
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(branch: Identity) -> UInt64[np.ndarray, " events"]:
    """Whole numbers as 64 bits, and those of floating-point numbers in double precision."""
    if np.issubdtype(branch.dtype, np.integer):
        return branch.astype(np.uint64)
    # + 0.0 makes one of the two zeros
    return (branch.astype(np.float64) + 0.0).view(np.uint64)
