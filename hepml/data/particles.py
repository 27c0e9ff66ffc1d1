"""Particles of many events as one table: px, py, pz, energy in GeV and what else is asked for."""

from collections.abc import Mapping, Sequence

import awkward as ak
import numpy as np
from jaxtyping import Bool, Float32, Int64

from hepml.config import Particles
from hepml.data.functions import leaf_dtype
from hepml.errors import InputError

GEV = {"MeV": 1e-3, "GeV": 1.0, "TeV": 1e3}
MOMENTUM = ("px", "py", "pz", "energy")
_BLOCK = 4096  # rows of the table that are filled column by column while they are in the cache


def particle_fields(particles: Particles) -> tuple[str, ...]:
    """Columns of the table."""
    return (*MOMENTUM, *particles.fields)


def particle_branches(particles: Particles) -> list[str]:
    """All branches that the particles are made from."""
    momentum = (particles.px, particles.py, particles.pz, particles.pt, particles.eta,
                particles.phi, particles.energy, particles.mass)  # fmt: skip
    return [name for name in momentum if name] + list(particles.fields.values())


def particle_columns(
    particles: Particles, arrays: Mapping[str, ak.Array], kept: Bool[np.ndarray, " events"]
) -> tuple[Int64[np.ndarray, " kept"], Float32[np.ndarray, "particles fields"]]:
    """Particles of the events that are kept, as one table, the hardest of each event first.

    Args:
        particles: which branches hold what.
        arrays: branch: ``events * var * number``.
        kept: which events.

    Returns:
        Particles of each event and the table of all of them one after another.

    Raises:
        InputError: if the branches have different numbers of particles in one event.
    """
    names = particle_branches(particles)
    for name in names:
        _require_numbers(name, arrays[name])
    counts = _counts(arrays[names[0]])
    for name in names[1:]:
        if not np.array_equal(_counts(arrays[name]), counts):
            raise InputError(
                f"branches {names[0]!r} and {name!r} differ in their number of particles per event"
            )
    rows = slice(None) if kept.all() else np.flatnonzero(np.repeat(kept, counts))
    flat = {name: ak.to_numpy(ak.flatten(arrays[name], axis=1))[rows] for name in names}
    columns = [*_momentum(particles, flat), *(flat[name] for name in particles.fields.values())]
    counts, table = counts[kept], _table(columns)
    with np.errstate(over="ignore", invalid="ignore"):  # found, and named, later
        order = order_by_pt(transverse_momentum(table[:, 0], table[:, 1]), counts)
    return counts, table if order is None else table.take(order, axis=0)


def transverse_momentum(
    px: Float32[np.ndarray, " particles"], py: Float32[np.ndarray, " particles"]
) -> Float32[np.ndarray, " particles"]:
    """By which particles are ordered, everywhere by the same formula: a last digit decides."""
    return np.sqrt(px * px + py * py)


def order_by_pt(
    pt: Float32[np.ndarray, " particles"], counts: Int64[np.ndarray, " events"]
) -> Int64[np.ndarray, " particles"] | None:
    """Rows of the particles event by event, hardest first; equal momenta keep their order.

    Args:
        pt: of the particles, those of one event after those of another.
        counts: particles of each event.

    Returns:
        None if they are in this order, as those of most ntuples are.
    """
    harder = pt[1:] > pt[:-1]
    starts = np.cumsum(counts)[:-1]
    harder[starts[(starts > 0) & (starts < len(pt))] - 1] = False  # of another event
    if not harder.any():
        return None
    event = np.repeat(np.arange(len(counts), dtype=np.uint64), counts)
    # bits of a float >= 0 order like the float; one integer key sorts by event, then falling pT
    softness = np.uint64(0xFFFFFFFF) - np.ascontiguousarray(pt).view(np.uint32)
    return np.argsort((event << np.uint64(32)) | softness, kind="stable")


def broken_particles(
    particles: Particles,
    arrays: Mapping[str, ak.Array],
    kept: Bool[np.ndarray, " events"],
    table: Float32[np.ndarray, "particles fields"],
) -> dict[str, Bool[np.ndarray, " kept"]]:
    """Events with a particle that cannot be, for each branch that is to blame.

    That is a value which is NaN or infinite, or too large for single precision, and a negative
    energy.

    Args:
        particles: which branches hold what.
        arrays: branch: ``events * var * number``.
        kept: which events.
        table: of the particles of these events, from :func:`particle_columns`.

    Returns:
        Events by what is wrong, in words; empty if all is well.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        sound = np.isfinite(table.sum()) and not (table[:, MOMENTUM.index("energy")] < 0).any()
    if sound:  # a finite sum has finite terms
        return {}
    counts = _counts(arrays[particle_branches(particles)[0]])[kept]
    event = np.repeat(np.arange(len(counts)), counts)
    broken: dict[str, Bool[np.ndarray, " kept"]] = {}

    def blame(what: str, bad: Bool[np.ndarray, " particles"]) -> None:
        if bad.any():
            broken[what] = np.bincount(event[bad], minlength=len(counts)) > 0

    for name in dict.fromkeys(particle_branches(particles)):
        values = ak.to_numpy(ak.flatten(arrays[name][kept], axis=1))
        blame(f"branch {name!r} of the particles", ~np.isfinite(values))
        if name == particles.energy:
            blame(f"branch {name!r} of the particles (negative energy)", values < 0)
    known = np.logical_or.reduce(list(broken.values())) if broken else np.zeros(len(counts), bool)
    for column, field in enumerate(particle_fields(particles)):
        bad = ~np.isfinite(table[:, column]) & ~known[event]
        blame(f"particles.{field} (too large for single precision)", bad)
    return broken


def _require_numbers(name: str, values: ak.Array) -> None:
    if values.ndim != 2 or leaf_dtype(values) is None:
        raise InputError(
            f"data.schema.particles: branch {name!r} holds {values.type.content} per event, "
            "expected a list of numbers"
        )


def _counts(values: ak.Array) -> Int64[np.ndarray, " events"]:
    return ak.to_numpy(ak.num(values, axis=1)).astype(np.int64)


def _momentum(particles: Particles, flat: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Give px, py, pz and energy in GeV."""
    if particles.px and particles.py and particles.pz:
        momentum = [flat[particles.px], flat[particles.py], flat[particles.pz]]
    else:
        pt, eta, phi = (flat[str(n)] for n in (particles.pt, particles.eta, particles.phi))
        with np.errstate(over="ignore", invalid="ignore"):  # found, and named, later
            momentum = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    if particles.energy:
        energy = flat[particles.energy]
    else:
        mass = flat[particles.mass].astype(np.float64) if particles.mass else 0.0
        energy = np.sqrt(sum(p.astype(np.float64) ** 2 for p in momentum) + mass**2)
    if particles.unit == "GeV":
        return [*momentum, energy]
    return [column * GEV[particles.unit] for column in (*momentum, energy)]


def _table(columns: Sequence[np.ndarray]) -> Float32[np.ndarray, "particles fields"]:
    table = np.empty((len(columns[0]), len(columns)), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(table), _BLOCK):
            rows = slice(start, start + _BLOCK)
            for column, values in enumerate(columns):
                table[rows, column] = values[rows]
    return table
