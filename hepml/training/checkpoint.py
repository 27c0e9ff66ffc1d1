"""Trained networks on disk: safetensors and JSON, so that reading one runs no code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from hepml.artifacts import new_folder, write_json
from hepml.config import Own, TrainingJob
from hepml.configfile import parse
from hepml.errors import InputError
from hepml.models import build
from hepml.models.ensemble import together
from hepml.models.own import Factory
from hepml.training.calibration import IDENTITY, Line


@dataclass(frozen=True)
class Trained:
    """A trained network and what must be known to use it.

    Attributes:
        network: an :class:`~hepml.models.ensemble.Ensemble` if there are several.
        job: how it was trained.
        fold: that it is tested on.
        log_prior_odds: of the events it was trained on, weighted as it was trained.
        line: from the logit less the logarithm of the prior odds to the log-likelihood ratio.
    """

    network: nn.Module
    job: TrainingJob
    fold: int
    log_prior_odds: float
    line: Line = IDENTITY

    def llr(self, logit: Float[np.ndarray, " events"]) -> Float[np.ndarray, " events"]:
        """Calibrated ln p(x|S)/p(x|B) of events with these logits."""
        return self.line(logit - self.log_prior_odds)


def save(folder: Path, trained: Trained, record: dict[str, Any]) -> None:
    """Write ``model.safetensors`` and ``model.json``, whole or not at all.

    Args:
        folder: replaced if it exists.
        trained: the network.
        record: history, costs and the errors of the calibration, kept in ``model.json``.
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
                "calibration": record.get("calibration", {}) | asdict(trained.line),
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
    description = describe(folder)
    try:
        state = load_file(folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, error) from None
    job = parse(TrainingJob, json.dumps(description["settings"]), f"{folder}/model.json")
    if factory:
        _require_same(folder, factory, job)
    try:
        network = together([build(job.model, factory=factory) for _ in range(job.model.ensemble)])
    except InputError as error:
        raise InputError(f"{folder}: {error}") from error
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{folder}: weights do not fit the architecture: {error}") from None
    network.eval()
    return Trained(
        network, job, description["fold"], description["log_prior_odds"], _line(folder, description)
    )


def describe(folder: Path) -> dict[str, Any]:
    """What ``model.json`` of a trained network holds.

    Raises:
        InputError: if there is none, or it is no JSON.
    """
    try:
        return json.loads((folder / "model.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from None


def _unreadable(folder: Path, error: Exception) -> InputError:
    return InputError(f"{folder}: no readable network ({error}); run `hepml train`")


def _line(folder: Path, description: Mapping[str, Any]) -> Line:
    """The calibration of a network."""
    given = description.get("calibration", {})
    try:
        line = Line(float(given["slope"]), float(given["offset"]))
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{folder}/model.json: no slope and offset of a calibration; run `hepml train` again"
        ) from None
    if not line.slope > 0:
        raise InputError(
            f"{folder}/model.json: the slope of the calibration is {line.slope:g}, where only a "
            "positive one keeps the order of events; run `hepml train` again"
        )
    return line


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
