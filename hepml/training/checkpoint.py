"""Trained networks on disk: safetensors and JSON, so that reading one runs no code."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hepml.artifacts import new_folder, write_json
from hepml.config import Own, TrainingJob
from hepml.configfile import parse
from hepml.errors import InputError
from hepml.models import build
from hepml.models.own import Factory


@dataclass(frozen=True)
class Trained:
    """A trained network and what must be known to use it."""

    network: nn.Module
    job: TrainingJob
    fold: int
    log_prior_odds: float


def save(folder: Path, trained: Trained, record: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json``, whole or not at all.

    Args:
        folder: replaced if it exists.
        trained: the network.
        record: history and costs, kept in ``model.json``.
    """
    with new_folder(folder) as temporary:
        # copies: networks may hold one tensor under two names, which safetensors refuses
        state = {
            name: value.clone(memory_format=torch.contiguous_format)
            for name, value in trained.network.state_dict().items()
        }
        save_file(state, temporary / "model.safetensors")
        write_json(
            temporary / "model.json",
            {
                "architecture": trained.job.model.architecture,
                "fold": trained.fold,
                "log_prior_odds": trained.log_prior_odds,
                "settings": json.loads(trained.job.model_dump_json()),
                **record,
            },
        )


def load(folder: Path, factory: Factory | None = None) -> Trained:
    """Read a network that :func:`save` wrote, in evaluation mode.

    Args:
        folder: of the network.
        factory: what makes it, if it is a user's own; that it is named in ``model.json`` runs no
            code.

    Raises:
        InputError: if files are missing, damaged or do not fit together, or the factory is
            another one than the network was trained with.
    """
    try:
        description = json.loads((folder / "model.json").read_text(encoding="utf-8"))
        state = load_file(folder / "model.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"{folder}: no readable network ({error}); run `hepml train`") from None
    job = parse(TrainingJob, json.dumps(description["settings"]), f"{folder}/model.json")
    if factory:
        _require_same(folder, factory, job)
    try:
        network = build(job.model, factory=factory)
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{folder}: weights do not fit the architecture: {error}") from None
    network.eval()
    return Trained(network, job, description["fold"], description["log_prior_odds"])


def _require_same(folder: Path, factory: Factory, job: TrainingJob) -> None:
    """Raise InputError unless the factory made the network of this job."""
    maker = job.model.factory if isinstance(job.model, Own) else job.model.architecture
    if factory.name != maker:
        raise InputError(f"{folder}: made by {maker}, but --factory is {factory.name}")
    if factory.sha256 != job.factory_sha256:
        raise InputError(
            f"{folder}: {factory.file} has changed since this network was trained (SHA-256 "
            f"{str(job.factory_sha256)[:12]} then, {factory.sha256[:12]} now); train again, or "
            "restore the file"
        )


def load_folds(folders: Sequence[Path], factory: Factory | None = None) -> tuple[Trained, ...]:
    """Read all networks of one model, in the order of their folds.

    Args:
        folders: of the networks.
        factory: what makes them, if they are a user's own.

    Raises:
        InputError: if they are not one per fold, or one cannot be read.
    """
    trained = sorted((load(f, factory) for f in folders), key=lambda network: network.fold)
    found, folds = [network.fold for network in trained], trained[0].job.folds
    if found != list(range(folds)):
        raise InputError(
            f"networks of folds {found} given, expected one for each of 0 to {folds - 1}"
        )
    return tuple(trained)
