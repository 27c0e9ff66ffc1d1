"""Systematic uncertainties from the columns of samples and of their changed copies."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from hashlib import sha256

import numpy as np
from jaxtyping import Float, Integer

from hepml.config import InferenceJob, Systematic
from hepml.data.store import Columns
from hepml.errors import InputError
from hepml.inference.events import Events
from hepml.inference.sources import (
    Copies,
    Copy,
    Normalisation,
    Processes,
    Source,
    Systematics,
    processes_of,
)


@dataclass(frozen=True)
class Loaded:
    """Simulated events of one or more samples, and what methods judge them by.

    Attributes:
        events: of all.
        sample: number of the sample of each.
        variables: one row per cut, or the log-likelihood ratio.
    """

    events: Events
    sample: Integer[np.ndarray, " events"]
    variables: Float[np.ndarray, "cuts events"]


def sample_names(samples: list[Columns]) -> tuple[str, ...]:
    """Of samples, as the config calls them.

    Raises:
        InputError: if the columns do not say.
    """
    for sample in samples:
        if "sample" not in sample.metadata:
            raise InputError(
                f"{sample.folder}: columns.json names no sample; run `hepml data` again"
            )
    return tuple(str(sample.metadata["sample"]) for sample in samples)


def varied_weights(
    job: InferenceJob, samples: list[Columns]
) -> dict[str, Float[np.ndarray, " events"]]:
    """Of all simulated events under every systematic on weights; nominal where not concerned.

    Raises:
        InputError: if a column is absent, or holds what is no number.
    """
    varied = {}
    names = sample_names(samples) if any(s.weight for s in job.systematics.values()) else ()
    for name, systematic in job.systematics.items():
        for variation in (f"{name}_up", f"{name}_down") if systematic.weight else ():
            parts = []
            for own, sample in zip(names, samples, strict=True):
                column = f"weight_{variation}" if own in systematic.samples else "weight"
                values = np.asarray(sample[column])[np.asarray(sample["label"]) >= 0]
                if not np.isfinite(values).all():
                    raise InputError(
                        f"{sample.folder}: column {column} holds NaN or infinite values; mend "
                        f"systematics.{name}.weight"
                    )
                parts.append(values)
            varied[variation] = np.concatenate(parts).astype(np.float64)
    return varied


def systematics_of(
    job: InferenceJob,
    names: tuple[str, ...],
    nominal: Loaded,
    weights: Mapping[str, Float[np.ndarray, " events"]],
    copies: Mapping[tuple[str, int], Loaded],
) -> Systematics | None:
    """Every source of uncertainty that a job names; None if it names none.

    Args:
        job: with its systematics.
        names: of the samples.
        nominal: all events.
        weights: ``<systematic>_up`` or ``_down``: varied weights, nominal where not concerned.
        copies: by variation and number of the sample.

    Raises:
        InputError: if a copy is missing or superfluous, or weights do not change.
    """
    if not job.systematics:
        _check_all_used(copies, set())
        return None
    processes = processes_of(names, nominal.sample, nominal.events.signal)
    used: set[tuple[str, int]] = set()
    sources = []
    for name, systematic in job.systematics.items():
        samples = [i for i, sample in enumerate(names) if sample in systematic.samples]
        change: Normalisation | Copies
        if systematic.normalisation is not None:
            change = Normalisation(*systematic.normalisation)
        elif systematic.weight is not None:
            change = _weighted(name, samples, nominal, weights, processes)
        else:
            keys = {(f"{name}_{d}", i) for d in systematic.directions for i in samples}
            _check_complete(name, keys, copies, names)
            used |= keys
            change = _changed(name, systematic, samples, copies, processes)
        concerned = np.flatnonzero(np.isin(processes.sample, samples)).tolist()
        sources.append(Source(name, systematic.title or name, tuple(concerned), change))
    _check_all_used(copies, used)
    return Systematics(processes, tuple(sources))


def _weighted(
    name: str,
    samples: list[int],
    nominal: Loaded,
    weights: Mapping[str, Float[np.ndarray, " events"]],
    processes: Processes,
) -> Copies:
    """The same events with other weights."""
    chosen = np.isin(nominal.sample, samples)
    up, down = (weights[f"{name}_{direction}"] for direction in ("up", "down"))
    same = nominal.events.weight[chosen]
    if np.array_equal(up[chosen], same) and np.array_equal(down[chosen], same):
        raise InputError(
            f"inference: systematics.{name}: the weight of every event is the nominal one, up and "
            "down; check its expressions, or take it out"
        )

    def copy(weight: Float[np.ndarray, " events"]) -> Copy:
        events = replace(nominal.events, weight=weight).only(chosen)
        return Copy(events, processes.of_event[chosen], nominal.variables[:, chosen])

    return Copies(copy(up), copy(down))


def _changed(
    name: str,
    systematic: Systematic,
    samples: list[int],
    copies: Mapping[tuple[str, int], Loaded],
    processes: Processes,
) -> Copies:
    both = {}
    for direction in systematic.directions:
        parts = [copies[f"{name}_{direction}", i] for i in samples]
        both[direction] = _joined(f"{name}, {direction}", parts, processes)
        if getattr(systematic.objects, direction).independent:
            both[direction] = _of_other_events(both[direction], f"{name}_{direction}")
    return Copies(both["up"], both.get("down"))


def _of_other_events(copy: Copy, variation: str) -> Copy:
    """The same with identities that no other sample has, whatever numbers its events have."""
    key = np.frombuffer(sha256(variation.encode()).digest()[:8], np.uint64)
    return replace(copy, events=replace(copy.events, event_id=copy.events.event_id ^ key))


def _joined(where: str, parts: list[Loaded], processes: Processes) -> Copy:
    """Copies of several samples one after another."""
    events = [part.events for part in parts]
    columns = {
        key: np.concatenate([getattr(e, key) for e in events])
        for key in ("event_id", "fold", "signal", "weight")
    }
    sample = np.concatenate([part.sample for part in parts])
    keys = (2 * processes.sample + ~processes.signal).tolist()
    found = 2 * sample + ~columns["signal"]
    strange = np.setdiff1d(found, keys)
    if strange.size:
        raise InputError(
            f"inference: systematics.{where}: sample {strange[0] // 2} has "
            f"{'background' if strange[0] % 2 else 'signal'} events, of which the nominal sample "
            "has none"
        )
    number = np.zeros(max(keys) + 1, np.int64)
    number[keys] = np.arange(len(keys))
    variables = np.concatenate([part.variables for part in parts], axis=1)
    return Copy(Events(**columns, folds=events[0].folds), number[found], variables)


def _check_complete(
    name: str,
    keys: Iterable[tuple[str, int]],
    copies: Mapping[tuple[str, int], Loaded],
    names: tuple[str, ...],
) -> None:
    lacking = sorted(set(keys) - copies.keys())
    if lacking:
        variation, sample = lacking[0]
        raise InputError(
            f"inference: systematics.{name}: no {variation} of {names[sample]} among the changed "
            f"copies; give it with --varied {variation} {sample} FOLDER (and its scores with "
            "--varied-scores, but for cuts)"
        )


def _check_all_used(copies: Mapping[tuple[str, int], Loaded], used: set[tuple[str, int]]) -> None:
    strange = sorted(copies.keys() - used)
    if strange:
        variation, sample = strange[0]
        raise InputError(
            f"inference: --varied {variation} {sample}: the settings name no systematic that "
            "changes the objects of this sample so; take it out, or add the systematic"
        )
