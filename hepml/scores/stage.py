"""The scores stage: every event scored by a network that never saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float

from hepml import kernels
from hepml.artifacts import new_file
from hepml.config import Model, inputs_of
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.inputs import on_device
from hepml.inputs.source import Source, particle_counts
from hepml.models.ensemble import members_of
from hepml.models.own import Factory
from hepml.scores.predict import combine, logits
from hepml.training.checkpoint import Trained, load_folds


@dataclass(frozen=True)
class Scores:
    """Of each event; the error is NaN where there is one network alone."""

    logit: Float[np.ndarray, " events"]
    llr: Float[np.ndarray, " events"]
    error: Float[np.ndarray, " events"]


def score(
    models: Sequence[Path],
    data: Path,
    spectators: Sequence[str],
    output: Path,
    device: torch.device,
    factory: Factory | None = None,
) -> None:
    """Score the events of one sample.

    Args:
        models: folders of the networks, one per fold.
        data: columns of the sample.
        spectators: variables copied beside the scores.
        output: parquet file, rows in the order of ``data``: event_id, fold, label, weight; logit
            of the network that never saw the event, raw; llr = ln p(x|S)/p(x|B), the logit less
            the logarithm of the prior odds it was trained with, calibrated; llr_err, its error
            from the spread of an ensemble, null without one; llr_train, the llr of a network that
            was trained on the event, only to show over-training; the spectators.
        device: where the networks compute.
        factory: what makes the networks, if they are a user's own.

    Raises:
        InputError: if the networks are not one per fold, or a score is not finite.
    """
    kernels.keep_freed_memory()
    trained = load_folds(models, factory)
    for network in trained:
        network.network.to(device)
    columns = open_columns(data)
    fold = np.asarray(columns["fold"])
    source = on_device([columns], trained[0].job.model, device)
    unseen = _score_by(trained, source, fold)
    # network k is tested on fold k and stopped by fold k + 1; it trained on fold k - 1
    seen = _score_by(trained, source, (fold + 1) % len(trained))
    if not np.isfinite(unseen.llr).all():
        worst = int(np.argmin(np.isfinite(unseen.llr)))
        raise InputError(
            f"{data}: score of event {worst} is not finite; look at its "
            f"{_read(columns, trained[0].job.model, worst)}"
        )
    identity = {name: np.asarray(columns[name]) for name in ("event_id", "fold", "label", "weight")}
    table = {
        **identity,
        "logit": unseen.logit,
        "llr": unseen.llr,
        "llr_err": pa.array(unseen.error, pa.float64(), from_pandas=True),  # null for NaN
        "llr_train": seen.llr,
        **{name: np.asarray(columns[name]) for name in spectators},
    }
    with new_file(output) as temporary:
        pq.write_table(pa.table(table), temporary)


def _score_by(trained: Sequence[Trained], source: Source, network: np.ndarray) -> Scores:
    """Scores of each event by the network whose number stands in ``network``."""
    logit, llr, error = np.empty((3, len(network)))
    for number, model in enumerate(trained):
        chosen = np.flatnonzero(network == number)
        members = members_of(model.network)
        combined = combine(np.stack([logits(each, source, chosen) for each in members]))
        logit[chosen], llr[chosen] = combined.mean, model.llr(combined.mean)
        error[chosen] = model.line.slope * combined.error
    return Scores(logit, llr, error)


def _read(columns: Columns, model: Model, event: int) -> str:
    """What a network read of an event, in words."""
    if inputs_of(model) == "features":
        return "variables"
    return f"{particle_counts([columns])[event]} particles"
