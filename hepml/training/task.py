"""What one training needs: the settings, and the events that train and that stop it."""

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import nn

from hepml.config import Mlp, Own, OwnOnFeatures, TrainingJob, inputs_of
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.inputs import on_device, resident_bytes
from hepml.inputs.features import Standardisation, fit_standardisation
from hepml.inputs.kept import KeptParticles, OpenRoom
from hepml.inputs.source import Labels, Source, particle_counts, read_labels
from hepml.inputs.unseen import Unseen, find_unseen
from hepml.models.own import Factory, import_factory
from hepml.training.batches import Batches
from hepml.training.losses import balanced_weights
from hepml.training.parallel import ALONE, World
from hepml.training.probe import make_probe, require_logits
from hepml.training.result import Report


def validation_fold(fold: int, folds: int) -> int:
    """Fold that stops the training of the network that is tested on ``fold``."""
    return (fold + 1) % folds


@dataclass(frozen=True)
class Task:
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
    world: World


def prepare(
    job: TrainingJob,
    data: Sequence[Path],
    fold: int,
    device: torch.device,
    folder: Path | None = None,
    world: World = ALONE,
) -> Task:
    """Open the events of one training.

    Args:
        job: the settings.
        data: folders of columns; data events (label -1) are left out.
        fold: is tested on; the next one decides when to stop, the others train.
        device: where to train.
        folder: has room for what is worth keeping from epoch to epoch; None if nothing is trained.
        world: the processes that train together.

    Raises:
        InputError: if a class is missing or has no positive weight.
    """
    room = None if folder is None else _room(folder, job)
    job, factory = with_factory(job)
    samples = [open_columns(folder) for folder in data]
    source = on_device(samples, job.model, device, room)
    labels = read_labels(samples)
    stop = validation_fold(fold, job.folds)
    simulated = labels.label >= 0
    training = np.flatnonzero(simulated & (labels.fold != fold) & (labels.fold != stop))
    training = drawn(training, job.model.training.events, job.seed * 1000 + fold)
    batches = _batches(source, labels, training, f"training folds of fold {fold}")
    stopping = np.flatnonzero(simulated & (labels.fold == stop))
    stops = _batches(source, labels, stopping, f"fold {stop}")
    return Task(
        job=job,
        factory=factory,
        fold=fold,
        samples=samples,
        training=replace(batches, world=world),
        stopping=replace(stops, world=world),
        log_prior_odds=_log_prior_odds(batches.label.numpy(), batches.weight.numpy()),
        unseen=find_unseen(samples, job.model, training),
        device=device,
        world=world,
    )


def drawn(events: np.ndarray, number: int | None, seed: int) -> np.ndarray:
    """So many of the events at most, at random, in their order.

    The events of a smaller number are among those of a larger one.
    """
    if number is None or number >= len(events):
        return events
    chosen = np.random.default_rng(seed).permutation(len(events))[:number]
    return events[np.sort(chosen)]


def with_factory(job: TrainingJob) -> tuple[TrainingJob, Factory | None]:
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


def trial(
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


def standardisation(job: TrainingJob, batches: Batches) -> Standardisation | None:
    """Scale of the variables in the training folds, for networks that read variables."""
    if not isinstance(job.model, Mlp | OwnOnFeatures):
        return None

    def pieces() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for (features,), _, weight in batches.ordered(65536):
            yield features.cpu().numpy(), weight.numpy()

    return fit_standardisation(pieces, job.model.features)


def notes(task: Task) -> Iterator[str]:
    """Lines for the log before the training."""
    if task.unseen:
        yield task.unseen.told()
    if isinstance(task.training.source, KeptParticles):
        most = resident_bytes(task.samples, task.job.model) / 1e9
        yield f"features of particles take {most:.2g} GB of disk at most while this trains"


def make_inputs(task: Task, report: Report) -> None:
    """Make, and keep, what the network will read again and again."""
    source = task.training.source
    if isinstance(source, KeptParticles):
        source.make(np.concatenate([task.training.events, task.stopping.events]), report)


def _room(folder: Path, job: TrainingJob) -> OpenRoom | None:
    """Opens files without a name in a folder, if there is a second epoch to read them."""
    if job.model.training.epochs == 1:
        return None
    folder.mkdir(parents=True, exist_ok=True)

    def room() -> IO[bytes]:
        return tempfile.TemporaryFile(dir=folder)

    return room


def _batches(source: Source, labels: Labels, events: np.ndarray, name: str) -> Batches:
    """Some events with balanced weights, on the CPU."""
    label, weight = labels.label[events], labels.weight[events]
    balanced = balanced_weights(weight, label, name)
    return Batches(
        source, events, torch.from_numpy(label.astype(np.float32)), torch.from_numpy(balanced)
    )


def _log_prior_odds(label: np.ndarray, weight: np.ndarray) -> float:
    """Ln of signal over background weight as trained; 0 up to rounding for balanced classes."""
    totals = [float(weight[label == value].sum(dtype=np.float64)) for value in (1, 0)]
    return math.log(totals[0] / totals[1])
