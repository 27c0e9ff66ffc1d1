"""The training stage: columns in, one network per fold out."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from hepml.config import TrainingJob
from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.inputs.features import Table, fit_standardisation, read_features
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
    table = read_features([open_columns(folder) for folder in data], job.model.features)
    stop = validation_fold(fold, job.folds)
    simulated = table.label >= 0
    training = table.where(simulated & (table.fold != fold) & (table.fold != stop))
    validation = table.where(simulated & (table.fold == stop))
    balanced = balanced_weights(training.weight, training.label, f"training folds of fold {fold}")
    scaling = fit_standardisation(training.features, balanced, job.model.features)

    torch.manual_seed(job.seed * 1000 + fold)
    network = build(job.model, scaling).to(device)
    result = fit(
        network,
        _batches(training, f"training folds of fold {fold}", device),
        _batches(validation, f"fold {stop}", device),
        job.model.training,
        report,
    )
    trained = Trained(network.cpu(), job, fold, _log_prior_odds(training.label, balanced))
    save(output, trained, result.record() | _costs(network, training, device))


def _batches(table: Table, events: str, device: torch.device) -> Batches:
    weight = balanced_weights(table.weight, table.label, events)
    return Batches(
        inputs=torch.from_numpy(table.features).to(device),
        label=torch.from_numpy(table.label.astype(np.float32)).to(device),
        weight=torch.from_numpy(weight).to(device),
    )


def _log_prior_odds(label: np.ndarray, weight: np.ndarray) -> float:
    """Ln of signal over background weight as trained; 0 up to rounding for balanced classes."""
    totals = [float(weight[label == value].sum(dtype=np.float64)) for value in (1, 0)]
    return math.log(totals[0] / totals[1])


def _costs(network: nn.Module, training: Table, device: torch.device) -> dict[str, object]:
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "training_events": len(training.label),
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
