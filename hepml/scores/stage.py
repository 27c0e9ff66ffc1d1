"""The scores stage: every event scored by a network that never saw it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from hepml.artifacts import new_file
from hepml.config import Model, inputs_of
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.inputs import on_device
from hepml.inputs.source import Source, particle_counts
from hepml.models.own import Factory
from hepml.scores.predict import logits
from hepml.training.checkpoint import Trained, load_folds


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
            of the network that never saw the event; llr = ln p(x|S)/p(x|B), the logit less the
            logarithm of the prior odds it was trained with; llr_err, null without an ensemble;
            llr_train, the same of a network that was trained on the event, only to show
            over-training; the spectators.
        device: where the networks compute.
        factory: what makes the networks, if they are a user's own.

    Raises:
        InputError: if the networks are not one per fold, or a score is not finite.
    """
    trained = load_folds(models, factory)
    for network in trained:
        network.network.to(device)
    columns = open_columns(data)
    fold = np.asarray(columns["fold"])
    source = on_device([columns], trained[0].job.model, device)
    unseen = _score_by(trained, source, fold)
    # network k is tested on fold k and stopped by fold k + 1; it trained on fold k - 1
    teacher = (fold + 1) % len(trained)
    seen = _score_by(trained, source, teacher)
    if not np.isfinite(unseen).all():
        worst = int(np.argmin(np.isfinite(unseen)))
        raise InputError(
            f"{data}: score of event {worst} is not finite; look at its "
            f"{_read(columns, trained[0].job.model, worst)}"
        )
    offsets = np.array([network.log_prior_odds for network in trained])
    identity = {name: np.asarray(columns[name]) for name in ("event_id", "fold", "label", "weight")}
    table = {
        **identity,
        "logit": unseen,
        "llr": unseen - offsets[fold],
        "llr_err": pa.nulls(columns.events, pa.float64()),
        "llr_train": seen - offsets[teacher],
        **{name: np.asarray(columns[name]) for name in spectators},
    }
    with new_file(output) as temporary:
        pq.write_table(pa.table(table), temporary)


def _score_by(trained: Sequence[Trained], source: Source, network: np.ndarray) -> np.ndarray:
    """Logit of each event by the network whose number stands in ``network``, float64."""
    result = np.empty(len(network))
    for number, model in enumerate(trained):
        chosen = np.flatnonzero(network == number)
        result[chosen] = logits(model.network, source, chosen)
    return result


def _read(columns: Columns, model: Model, event: int) -> str:
    """What a network read of an event, in words."""
    if inputs_of(model) == "features":
        return "variables"
    return f"{particle_counts([columns])[event]} particles"
