"""The training stage: columns in, one network per fold out."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import nn

from hepml.config import Mlp, Own, OwnOnFeatures, TrainingJob, inputs_of
from hepml.data.folds import distinct
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.inputs import on_device, resident_bytes
from hepml.inputs.features import Standardisation, fit_standardisation
from hepml.inputs.kept import KeptParticles, OpenRoom
from hepml.inputs.source import Labels, Source, particle_counts, read_labels
from hepml.inputs.unseen import Unseen, find_unseen
from hepml.jobs import member_job
from hepml.models import build
from hepml.models.ensemble import together
from hepml.models.own import Factory, import_factory
from hepml.training.batches import Batches
from hepml.training.checkpoint import Trained, describe, load, save
from hepml.training.costs import count_macs, machine
from hepml.training.loop import DivergedError, Report, fit
from hepml.training.losses import balanced_weights
from hepml.training.members import record_of, seed_of, summary
from hepml.training.probe import make_probe, require_logits
from hepml.training.ratio import UNCALIBRATED, Calibration, HeldOut, calibrate, logits


def validation_fold(fold: int, folds: int) -> int:
    """Fold that stops the training of the network that is tested on ``fold``."""
    return (fold + 1) % folds


@dataclass(frozen=True)
class _Task:
    """One network to train: the settings, and the events that train and that stop it."""

    job: TrainingJob
    factory: Factory | None
    fold: int
    samples: Sequence[Columns]
    training: Batches
    stopping: Batches
    log_prior_odds: float
    unseen: Unseen | None
    device: torch.device


@dataclass(frozen=True)
class _Member:
    """A trained network, on the device, and the record of its training."""

    network: nn.Module
    record: dict[str, Any]


def train(
    job: TrainingJob,
    data: Sequence[Path],
    fold: int,
    output: Path,
    device: torch.device,
    report: Report,
) -> None:
    """Train the network that is tested on ``fold`` and never sees its events.

    The members of an ensemble one after another, then their calibration.

    Args:
        job: the settings.
        data: folders of columns; data events (label -1) are left out.
        fold: is tested on; the next one decides when to stop, the others train.
        output: folder of ``model.safetensors`` and ``model.json``.
        device: where to train.
        report: is told one line per epoch.

    Raises:
        InputError: if a class is missing or has no positive weight, a user's own network cannot be
            made, or the training diverges; then the best network before that is kept beside
            ``output``, which is not written.
    """
    room = _room(output.parent, job)
    task = _task(job, data, fold, device, room)
    for note in _notes(task):
        report(note)
    number = job.model.ensemble
    members = []
    for member in range(number):
        alone = task if number == 1 else replace(task, job=member_job(task.job, member))
        name = f"network {member + 1} of {number}, "
        members.append(_trained(alone, output, report if number == 1 else _prefixed(report, name)))
    _finish(task, members, output, report)


def assemble(
    job: TrainingJob,
    data: Sequence[Path],
    networks: Sequence[Path],
    output: Path,
    device: torch.device,
    report: Report,
) -> None:
    """Make one ensemble of networks that were trained by jobs of their own.

    Args:
        job: the settings of the ensemble.
        data: folders of columns, those that the networks were trained on.
        networks: folders of all members, in any order.
        output: folder of ``model.safetensors`` and ``model.json``.
        device: where the networks compute.
        report: is told the calibration.

    Raises:
        InputError: if the networks are not the members of this ensemble.
    """
    job, factory = _with_factory(job)
    found = sorted(
        ((load(folder, factory), folder) for folder in networks), key=lambda x: x[0].job.member
    )
    for trained, folder in found:
        if trained.job != member_job(job, trained.job.member):
            raise InputError(f"{folder}: trained with other settings than the ensemble has")
    folds, numbers = {t.fold for t, _ in found}, [t.job.member for t, _ in found]
    if len(folds) != 1 or numbers != list(range(job.model.ensemble)):
        raise InputError(
            f"ensemble: networks {numbers} of folds {sorted(folds)} given, expected those of one "
            f"fold, 0 to {job.model.ensemble - 1}"
        )
    task = _task(job, data, folds.pop(), device)
    members = [_Member(t.network.to(device), record_of(describe(f))) for t, f in found]
    _finish(task, members, output, report)


def _task(
    job: TrainingJob,
    data: Sequence[Path],
    fold: int,
    device: torch.device,
    room: OpenRoom | None = None,
) -> _Task:
    job, factory = _with_factory(job)
    samples = [open_columns(folder) for folder in data]
    source = on_device(samples, job.model, device, room)
    labels = read_labels(samples)
    stop = validation_fold(fold, job.folds)
    simulated = labels.label >= 0
    training = np.flatnonzero(simulated & (labels.fold != fold) & (labels.fold != stop))
    training = drawn(training, job.model.training.events, job.seed * 1000 + fold)
    batches = _batches(source, labels, training, f"training folds of fold {fold}")
    stopping = np.flatnonzero(simulated & (labels.fold == stop))
    return _Task(
        job=job,
        factory=factory,
        fold=fold,
        samples=samples,
        training=batches,
        stopping=_batches(source, labels, stopping, f"fold {stop}"),
        log_prior_odds=_log_prior_odds(batches.label.numpy(), batches.weight.numpy()),
        unseen=find_unseen(samples, job.model, training),
        device=device,
    )


def _trained(task: _Task, output: Path, report: Report) -> _Member:
    """Train one network."""
    job = task.job
    torch.manual_seed(seed_of(job, task.fold))
    standardisation = _standardisation(job, task.training)
    network = build(job.model, standardisation, task.factory).to(task.device)
    events = task.training.to(task.device)
    require_sound = _trial(network, job, task.samples, events, task.factory)
    require_sound()
    try:
        result = fit(network, events, task.stopping.to(task.device), job.model.training, report)
    except DivergedError as error:
        if error.fit is None:
            raise
        folder = output.with_name(f"{output.name}.last_good")
        record = error.fit.record() | machine(task.device)
        # whatever made it explode may do so again: nothing more is asked of it
        _save(task, [_Member(network, record)], folder, UNCALIBRATED)
        raise InputError(
            f"{error}; the network of epoch {error.fit.best_epoch} is kept in {folder}"
        ) from None
    require_sound()
    return _Member(network, result.record() | machine(task.device))


def _finish(task: _Task, members: Sequence[_Member], output: Path, report: Report) -> None:
    """Calibrate and write."""
    calibration = _calibration(task, together([member.network for member in members]))
    report(calibration.told())
    _save(task, members, output, calibration)


def _save(task: _Task, members: Sequence[_Member], output: Path, calibration: Calibration) -> None:
    network = together([member.network for member in members])
    record: dict[str, Any] = summary([member.record for member in members]) | {
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": count_macs(network, task.stopping.to(task.device)),
        "training_events": len(task.training),
        "calibration": calibration.record(),
    }
    record |= task.unseen.record() if task.unseen else {}
    trained = Trained(network.cpu(), task.job, task.fold, task.log_prior_odds, calibration.line)
    save(output, trained, record)


def _calibration(task: _Task, network: nn.Module) -> Calibration:
    """The map from the logit to the ratio, fitted on the events that stopped the training."""
    events = task.stopping
    held_out = HeldOut(
        x=logits(network, events.to(task.device)) - task.log_prior_odds,
        signal=events.label.numpy() == 1,
        weight=events.weight.numpy().astype(np.float64),
        event_id=distinct([s["event_id"] for s in task.samples])[events.events],
    )
    try:
        return calibrate(held_out, task.job.model.calibration)
    except ValueError as error:
        stop = validation_fold(task.fold, task.job.folds)
        raise InputError(
            f"{error} in fold {stop}; lower learning_rate, or look for extreme features"
        ) from None


def _prefixed(report: Report, name: str) -> Report:
    return lambda line: report(name + line)


def _notes(task: _Task) -> Iterator[str]:
    """Lines for the log before the training."""
    if task.unseen:
        yield task.unseen.told()
    if isinstance(task.training.source, KeptParticles):
        most = resident_bytes(task.samples, task.job.model) / 1e9
        yield f"features of particles take {most:.2g} GB of disk at most while this trains"


def _room(folder: Path, job: TrainingJob) -> OpenRoom | None:
    """Opens files without a name in a folder, if there is a second epoch to read them."""
    if job.model.training.epochs == 1:
        return None
    folder.mkdir(parents=True, exist_ok=True)

    def room() -> IO[bytes]:
        return tempfile.TemporaryFile(dir=folder)

    return room


def drawn(events: np.ndarray, number: int | None, seed: int) -> np.ndarray:
    """So many of the events at most, at random, in their order.

    The events of a smaller number are among those of a larger one.
    """
    if number is None or number >= len(events):
        return events
    chosen = np.random.default_rng(seed).permutation(len(events))[:number]
    return events[np.sort(chosen)]


def _with_factory(job: TrainingJob) -> tuple[TrainingJob, Factory | None]:
    """Import what makes a user's own network, and note its digest in the job.

    Raises:
        InputError: if the file is not the one that the job was made for.
    """
    if not isinstance(job.model, Own):
        return job, None
    factory = import_factory(job.model.factory)
    if job.factory_sha256 not in (None, factory.sha256):
        raise InputError(
            f"{factory.name}: {factory.file} changed after the workflow had read it; start again"
        )
    return job.model_copy(update={"factory_sha256": factory.sha256}), factory


def _trial(
    network: nn.Module,
    job: TrainingJob,
    samples: Sequence[Columns],
    events: Batches,
    factory: Factory | None,
) -> Callable[[], None]:
    """What raises InputError if a user's own network gives no logits; nothing for our networks."""
    if factory is None:
        return lambda: None
    particles = None if inputs_of(job.model) == "features" else particle_counts(samples)
    return partial(require_logits, network, make_probe(events, particles), factory)


def _batches(source: Source, labels: Labels, events: np.ndarray, name: str) -> Batches:
    """Some events with balanced weights, on the CPU."""
    label, weight = labels.label[events], labels.weight[events]
    balanced = balanced_weights(weight, label, name)
    return Batches(
        source, events, torch.from_numpy(label.astype(np.float32)), torch.from_numpy(balanced)
    )


def _standardisation(job: TrainingJob, batches: Batches) -> Standardisation | None:
    """Scale of the variables in the training folds, for networks that read variables."""
    if not isinstance(job.model, Mlp | OwnOnFeatures):
        return None

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for (features,), _, weight in batches.ordered(65536):
            yield features.cpu().numpy(), weight.numpy()

    return fit_standardisation(pieces, job.model.features)


def _log_prior_odds(label: np.ndarray, weight: np.ndarray) -> float:
    """Ln of signal over background weight as trained; 0 up to rounding for balanced classes."""
    totals = [float(weight[label == value].sum(dtype=np.float64)) for value in (1, 0)]
    return math.log(totals[0] / totals[1])
