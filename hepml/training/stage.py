"""The training stage: columns in, one network per fold out."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hepml.config import Mlp, TrainingJob
from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.inputs import open_source
from hepml.inputs.features import Standardisation, fit_standardisation
from hepml.inputs.source import FeatureSource, Labels, Source, read_labels
from hepml.models import build
from hepml.training.checkpoint import Trained, save
from hepml.training.loop import Batches, fit
from hepml.training.losses import balanced_weights


def validation_fold(fold: int, folds: int) -> int:
    """Fold that stops the training of the network that is tested on ``fold``."""
    return (fold + 1) % folds


def train(
    job: TrainingJob,
    data: Sequence[Path],
    fold: int,
    output: Path,
    device: torch.device,
    report: Callable[[str], None],
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
        InputError: if a class is missing or has no positive weight, or the training diverges.
    """
    samples = [open_columns(folder) for folder in data]
    source = open_source(samples, job.model, device)
    labels = read_labels(samples)
    stop = validation_fold(fold, job.folds)
    simulated = labels.label >= 0
    training = np.flatnonzero(simulated & (labels.fold != fold) & (labels.fold != stop))
    validation = np.flatnonzero(simulated & (labels.fold == stop))
    batches = _batches(source, labels, training, f"training folds of fold {fold}")
    torch.manual_seed(job.seed * 1000 + fold)
    network = build(job.model, _standardisation(job, source, batches)).to(device)
    result = fit(
        network,
        batches.to(device),
        _batches(source, labels, validation, f"fold {stop}").to(device),
        job.model.training,
        report,
    )
    odds = _log_prior_odds(batches.label.numpy(), batches.weight.numpy())
    costs = _costs(network, len(training), device)
    save(output, Trained(network.cpu(), job, fold, odds), result.record() | costs)


def _batches(source: Source, labels: Labels, events: np.ndarray, name: str) -> Batches:
    """Some events with balanced weights, on the CPU."""
    label, weight = labels.label[events], labels.weight[events]
    balanced = balanced_weights(weight, label, name)
    return Batches(
        source, events, torch.from_numpy(label.astype(np.float32)), torch.from_numpy(balanced)
    )


def _standardisation(job: TrainingJob, source: Source, batches: Batches) -> Standardisation | None:
    """Scale of the variables of an MLP in the training folds; other networks have none."""
    if not isinstance(source, FeatureSource) or not isinstance(job.model, Mlp):
        return None
    (features,) = source.take(batches.events)
    return fit_standardisation(features.cpu().numpy(), batches.weight.numpy(), job.model.features)


def _log_prior_odds(label: np.ndarray, weight: np.ndarray) -> float:
    """Ln of signal over background weight as trained; 0 up to rounding for balanced classes."""
    totals = [float(weight[label == value].sum(dtype=np.float64)) for value in (1, 0)]
    return math.log(totals[0] / totals[1])


def _costs(network: nn.Module, events: int, device: torch.device) -> dict[str, object]:
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "training_events": events,
        "device": device.type,
        "threads": torch.get_num_threads(),
    }


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

    Raises:
        InputError: if a GPU was asked for and there is none: never silently the CPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: PyTorch sees no GPU here (check CUDA_VISIBLE_DEVICES and that torch "
            "was installed with CUDA); use --device auto or cpu"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
