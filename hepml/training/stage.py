"""The training stage: columns in, one network per fold out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hepml import kernels
from hepml.config import TrainingJob, inputs_of
from hepml.data.folds import distinct
from hepml.errors import InputError
from hepml.jobs import member_job
from hepml.models import build
from hepml.models.ensemble import together
from hepml.training.checkpoint import Trained, describe, load, save
from hepml.training.costs import count_macs, machine
from hepml.training.fingerprint import fingerprints
from hepml.training.loop import fit
from hepml.training.members import record_of, seed_of, summary
from hepml.training.ratio import UNCALIBRATED, Calibration, HeldOut, calibrate, logits
from hepml.training.result import DivergedError, Report
from hepml.training.resume import Resumable, resumable
from hepml.training.state import Keeper
from hepml.training.task import (
    Task,
    make_inputs,
    notes,
    prepare,
    standardisation,
    trial,
    validation_fold,
    with_factory,
)


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
    """Train the network that is tested on ``fold`` and never sees its events, without checkpoints.

    Args:
        job: the settings.
        data: folders of columns; data events (label -1) are left out.
        fold: is tested on; the next one decides when to stop, the others train.
        output: folder of ``model.safetensors`` and ``model.json``.
        device: where to train.
        report: is told one line per epoch.

    Raises:
        InputError: as :func:`train_task`, or if a class is missing or has no positive weight.
    """
    with resumable(output, None, report) as checkpoints:
        train_task(prepare(job, data, fold, device, output.parent), output, report, checkpoints)


def train_task(task: Task, output: Path, report: Report, checkpoints: Resumable) -> None:
    """Train the network of a task, or go on where an earlier call was interrupted.

    The members of an ensemble one after another, then their calibration. Each has checkpoints of
    its own; the last one of a member that is finished gives it back without training. Of processes
    that train together the first one calibrates and writes.

    Args:
        task: settings and events.
        output: folder of ``model.safetensors`` and ``model.json``.
        report: is told one line per epoch.
        checkpoints: of this output; they go when it is written.

    Raises:
        InputError: if a user's own network cannot be made, or the training diverges; then the
            best network before that is kept beside ``output``, which is not written.
        LostError: if another process has taken over the training.
        InterruptedTrainingError: if a signal ended it.
    """
    kernels.keep_freed_memory()
    for note in notes(task):
        report(note)
    if _has_kernels(task):
        report(f"kernels: {kernels.description()}")
    make_inputs(task, report)
    number = task.job.model.ensemble
    of_member = fingerprints(task.job, task.samples, task.fold, task.device, task.world.size)
    members = []
    for member in range(number):
        alone = task if number == 1 else replace(task, job=member_job(task.job, member))
        told = report if number == 1 else _prefixed(report, f"network {member + 1} of {number}, ")
        which = alone.job.member
        keeper = checkpoints.keeper(which, partial(of_member, which), told)
        members.append(_trained(alone, output, told, keeper))
    if task.world.first:
        checkpoints.require()
        _finish(task, members, output, report)
        checkpoints.finished()
    task.world.wait()  # and end with an error if the first process does


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
    job, factory = with_factory(job)
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
    task = prepare(job, data, folds.pop(), device)
    members = [_Member(t.network.to(device), record_of(describe(f))) for t, f in found]
    _finish(task, members, output, report)


def _trained(task: Task, output: Path, report: Report, keeper: Keeper) -> _Member:
    """Train one network."""
    job = task.job
    torch.manual_seed(seed_of(job, task.fold))
    scale = standardisation(job, task.training)
    network = build(job.model, scale, task.factory).to(task.device)
    events, stopping = task.training.to(task.device), task.stopping.to(task.device)
    require_sound = trial(network, job, task.samples, events, task.factory)
    require_sound()
    try:
        result = fit(network, events, stopping, job.model.training, report, keeper)
    except DivergedError as error:
        if error.fit is None:
            raise
        folder = output.with_name(f"{output.name}.last_good")
        record = error.fit.record() | machine(task.device, task.world.size)
        if task.world.first:
            # whatever made it explode may do so again: nothing more is asked of it
            _save(task, [_Member(network, record)], folder, UNCALIBRATED)
        task.world.wait()  # who ends first ends all
        raise InputError(
            f"{error}; the network of epoch {error.fit.best_epoch} is kept in {folder}"
        ) from None
    require_sound()
    return _Member(network, result.record() | machine(task.device, task.world.size))


def _finish(task: Task, members: Sequence[_Member], output: Path, report: Report) -> None:
    """Calibrate and write."""
    calibration = _calibration(task, together([member.network for member in members]))
    report(calibration.told())
    _save(task, members, output, calibration)


def _save(task: Task, members: Sequence[_Member], output: Path, calibration: Calibration) -> None:
    network = together([member.network for member in members])
    record: dict[str, Any] = summary([member.record for member in members]) | {
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": count_macs(network, task.stopping.to(task.device)),
        "training_events": len(task.training),
        "calibration": calibration.record(),
    }
    record |= {"kernels": kernels.description()} if _has_kernels(task) else {}
    record |= task.unseen.record() if task.unseen else {}
    trained = Trained(network.cpu(), task.job, task.fold, task.log_prior_odds, calibration.line)
    save(output, trained, record)


def _calibration(task: Task, network: nn.Module) -> Calibration:
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


def _has_kernels(task: Task) -> bool:
    """Whether there are kernels for this network or its inputs, if they can be compiled."""
    return inputs_of(task.job.model) != "features"


def _prefixed(report: Report, name: str) -> Report:
    return lambda line: report(name + line)
