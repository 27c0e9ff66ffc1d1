"""A network that tries to tell two samples apart: closure of a ratio in all variables together.

If the ratio r = p(x|S)/p(x|B) is right, the mixture M = (S + B)/2 weighted by 2r/(1 + r) is
distributed as S in every variable that r is a function of. Weights lie in [0, 2], whereas those of
B reweighted by r can be so uneven that even the exact ratio does not seem to close.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.special import expit

from hepml.config import Training
from hepml.data.folds import splitmix64
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate, weighted_auc
from hepml.inputs.features import fit_standardisation
from hepml.inputs.resident import ResidentTable
from hepml.models.mlp import Mlp
from hepml.training.batches import Batches
from hepml.training.loop import fit
from hepml.training.losses import balanced_weights

HIDDEN = (32, 32)
TRAINING = Training(epochs=12, patience=4, batch_size=2048, learning_rate=2e-2)
OUTSIDE = 1e-3  # of the events on either side, whose variables are moved to the end of the range


@dataclass(frozen=True)
class _Rows:
    """Signal, then the mixture: signal again, and background.

    An event of signal stands in both samples; their common fluctuations leave the errors by the
    identity that both rows have.
    """

    x: Float[np.ndarray, "rows variables"]
    events: Events
    half: Bool[np.ndarray, " rows"]
    stops: Bool[np.ndarray, " rows"]


def two_sample(
    llr: Float[np.ndarray, " events"],
    variables: Float[np.ndarray, "variables events"],
    events: Events,
    seed: int,
) -> list[Estimate]:
    """AUC of a network that tells signal from the reweighted mixture; ½ if it cannot.

    Two networks, each trained on one half of the events and tested on the other; entries of one
    event are in the same half.

    Args:
        llr: logarithm of the ratio that is tested.
        variables: in which; the ratio itself is added to them.
        events: of all samples.
        seed: of initial weights and shuffling.

    Returns:
        AUC of all folds together, then of each.
    """
    rows = _rows(llr, variables, events)
    score = np.empty(len(rows.half))
    for number, tested in enumerate((rows.half, ~rows.half)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2 * seed + number)
            score[tested] = _discriminate(rows, tested)
    everything = np.ones(len(score), bool)
    folds = (rows.events.fold == fold for fold in range(events.folds))
    return [_auc(score, rows, chosen) for chosen in (everything, *folds)]


def _rows(
    llr: Float[np.ndarray, " events"],
    variables: Float[np.ndarray, "variables events"],
    events: Events,
) -> _Rows:
    target = np.flatnonzero(events.signal)
    source = np.concatenate([target, np.arange(len(llr))])
    p = expit(llr)
    of_class = np.where(
        events.signal,
        events.weight[events.signal].sum(),
        events.weight[~events.signal].sum(),
    )
    share = events.weight / of_class
    is_target = np.arange(len(source)) < len(target)
    weight = np.where(is_target, share[source], share[source] * p[source])
    hashed = splitmix64(events.event_id)[source] >> np.uint64(32)  # not the bits of the folds
    table = _bounded(np.stack([llr, *variables]))
    rows = Events(events.event_id[source], events.fold[source], is_target, weight, events.folds)
    return _Rows(table[source], rows, hashed % 2 == 0, hashed // 2 % 4 == 0)


def _bounded(variables: Float[np.ndarray, "variables events"]) -> np.ndarray:
    """One row per event of those variables that vary, without far tails; float32."""
    low, high = np.quantile(variables, [OUTSIDE, 1 - OUTSIDE], axis=1)
    kept = high > low
    inside = np.clip(variables[kept], low[kept, None], high[kept, None])
    return np.ascontiguousarray(inside.T, dtype=np.float32)


def _discriminate(rows: _Rows, tested: Bool[np.ndarray, " rows"]) -> np.ndarray:
    """Scores of the rows that are tested, by a network trained on the others."""
    kept = np.flatnonzero(~tested & ~rows.stops)
    names = [str(number) for number in range(rows.x.shape[1])]
    scale = fit_standardisation(lambda: [(rows.x[kept], rows.events.weight[kept])], names)
    network = Mlp(scale, HIDDEN)
    training, stopping = (
        _batches(rows, chosen) for chosen in (kept, np.flatnonzero(~tested & rows.stops))
    )
    fit(network, training, stopping, TRAINING, lambda _: None)
    with torch.no_grad():
        return network.eval()(torch.from_numpy(rows.x[tested])).double().numpy()


def _batches(rows: _Rows, chosen: np.ndarray) -> Batches:
    label = rows.events.signal[chosen].astype(np.int64)
    weight = balanced_weights(rows.events.weight[chosen], label, "the two-sample test")
    return Batches(
        ResidentTable(torch.from_numpy(rows.x)),
        chosen,
        torch.from_numpy(label.astype(np.float32)),
        torch.from_numpy(weight),
    )


def _auc(
    score: Float[np.ndarray, " rows"], rows: _Rows, chosen: Bool[np.ndarray, " rows"]
) -> Estimate:
    """Mean over both halves, which two networks scored."""
    halves: Sequence[Estimate] = [
        weighted_auc(
            score[k], rows.events.signal[k], rows.events.weight[k], rows.events.event_id[k]
        )
        for k in (chosen & rows.half, chosen & ~rows.half)
    ]
    mean = (halves[0].value + halves[1].value) / 2
    return Estimate(mean, float(np.hypot(halves[0].error, halves[1].error) / 2))
