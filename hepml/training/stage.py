"""The training stage: columns in, one network per fold out."""

import math
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from hepml.config import Mlp, Own, OwnOnFeatures, TrainingJob, inputs_of
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.inputs import on_device, resident_bytes
from hepml.inputs.features import Standardisation, fit_standardisation
from hepml.inputs.kept import KeptParticles, OpenRoom
from hepml.inputs.source import Labels, Source, particle_counts, read_labels
from hepml.inputs.unseen import Unseen, find_unseen
from hepml.models import build
from hepml.models.own import Factory, import_factory
from hepml.training.batches import Batches
from hepml.training.checkpoint import Trained, save
from hepml.training.loop import DivergedError, Fit, Report, fit
from hepml.training.losses import balanced_weights
from hepml.training.probe import make_probe, require_logits

_COUNTED = 256  # events whose operations are counted


def validation_fold(fold: int, folds: int) -> int:
    """Fold that stops the training of the network that is tested on ``fold``."""
    return (fold + 1) % folds


def train(
    job: TrainingJob,
    data: Sequence[Path],
    fold: int,
    output: Path,
    device: torch.device,
    report: Report,
) -> None:
    """Train the network that is tested on ``fold`` and never sees its events.

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
    job, factory = _with_factory(job)
    samples = [open_columns(folder) for folder in data]
    source = on_device(samples, job.model, device, _room(output.parent, job))
    labels = read_labels(samples)
    stop = validation_fold(fold, job.folds)
    simulated = labels.label >= 0
    training = np.flatnonzero(simulated & (labels.fold != fold) & (labels.fold != stop))
    training = drawn(training, job.model.training.events, job.seed * 1000 + fold)
    batches = _batches(source, labels, training, f"training folds of fold {fold}")
    stopping = _batches(
        source, labels, np.flatnonzero(simulated & (labels.fold == stop)), f"fold {stop}"
    )
    odds = _log_prior_odds(batches.label.numpy(), batches.weight.numpy())
    torch.manual_seed(job.seed * 1000 + fold)
    network = build(job.model, _standardisation(job, batches), factory).to(device)
    settings = job.model.training
    unseen = find_unseen(samples, job.model, training)
    for note in _notes(samples, job, source, unseen):
        report(note)

    def keep(folder: Path, result: Fit) -> None:
        costs = _costs(network, batches, stopping) | (unseen.record() if unseen else {})
        save(folder, Trained(network.cpu(), job, fold, odds), result.record() | costs)

    require_sound = _trial(network, job, samples, batches.to(device), factory)
    require_sound()
    try:
        result = fit(network, batches.to(device), stopping.to(device), settings, report)
    except DivergedError as error:
        if error.fit is None:
            raise
        folder = output.with_name(f"{output.name}.last_good")
        keep(folder, error.fit)
        raise InputError(
            f"{error}; the network of epoch {error.fit.best_epoch} is kept in {folder}"
        ) from None
    require_sound()
    keep(output, result)


def _notes(
    samples: Sequence[Columns], job: TrainingJob, source: Source, unseen: Unseen | None
) -> Iterator[str]:
    """Lines for the log before the training."""
    if unseen:
        yield unseen.told()
    if isinstance(source, KeptParticles):
        most = resident_bytes(samples, job.model) / 1e9
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


def _costs(network: nn.Module, training: Batches, validation: Batches) -> dict[str, object]:
    """What the network is and took; memory is the most that the process ever had."""
    device = next(network.parameters()).device
    costs: dict[str, object] = {
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": count_macs(network, validation.to(device)),
        "training_events": len(training),
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "threads": torch.get_num_threads(),
        "peak_memory_mb": _peak_memory(),
    }
    if device.type == "cuda":
        costs["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 2**20
    return costs


@torch.no_grad()
def count_macs(network: nn.Module, events: Batches) -> float:
    """Multiplications with addition in products and convolutions, mean per event.

    Half of the floating-point operations that PyTorch counts, on up to 256 events spread evenly.
    For networks on particles this is the mean over their numbers, and padding within groups counts.
    """
    network.eval()
    step = max(1, len(events) // _COUNTED)
    some = Batches(
        events.source, events.events[::step], events.label[::step], events.weight[::step]
    )
    # the counter fails on views of parameters, which want a gradient even under no_grad
    fixed = {name: value.detach() for name, value in network.named_parameters()}
    with FlopCounterMode(display=False) as counter:
        for inputs, _, _ in some.ordered(len(some)):
            functional_call(network, fixed, inputs)
    return counter.get_total_flops() / 2 / len(some)


def _peak_memory() -> float:
    """Largest resident set of this process [MB]; Linux counts in kB, macOS in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
