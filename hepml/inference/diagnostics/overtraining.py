"""What networks gain on the events that trained them, which they lose on all others."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import kstwo

from hepml.data.entries import sums_of_events
from hepml.inference.closure import losses, mean_of_mixture
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate, auc_difference


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """Whether the score of one class is distributed alike in events seen and not seen.

    Attributes:
        distance: the largest gap between the two cumulative distributions, of the network where
            it is least probable.
        p_value: of that distance or more; of several networks, the probability that the smallest
            of their p-values is so small.
    """

    distance: float
    p_value: float


@dataclass(frozen=True)
class Overtraining:
    """Events seen against events not seen.

    Attributes:
        auc: of the events by networks that trained on them, less that by networks that did not.
        cross_entropy: by networks that did not less that by networks that did [nats].
        signal: distribution of the score of signal.
        background: of background.
    """

    auc: Estimate
    cross_entropy: Estimate
    signal: KolmogorovSmirnov
    background: KolmogorovSmirnov


def overtraining(
    llr: Float[np.ndarray, " events"], seen: Float[np.ndarray, " events"], events: Events
) -> list[Overtraining]:
    """Of all folds together, then of each by itself.

    AUC and cross-entropy compare the same events, scored by two networks each, so that their errors
    are paired. The Kolmogorov-Smirnov test wants independent samples: it compares the scores that
    *one* network gives to a fold it never saw and to a fold that trained it, which is the one
    before (:mod:`hepml.scores.stage`).

    Args:
        llr: of each event by a network that never saw it.
        seen: the same by a network that trained on it.
        events: of all samples.
    """
    tests = [
        [_of_network(llr, seen, events, fold, of_class) for fold in range(events.folds)]
        for of_class in (events.signal, ~events.signal)
    ]
    everything = np.ones(len(llr), bool)
    found = [_overtraining(llr, seen, events, everything, [_worst(test) for test in tests])]
    for fold in range(events.folds):
        of_fold = [test[fold] for test in tests]
        found.append(_overtraining(llr, seen, events, events.fold == fold, of_fold))
    return found


def kolmogorov_smirnov(
    first: tuple[Float[np.ndarray, " m"], Events], second: tuple[Float[np.ndarray, " n"], Events]
) -> KolmogorovSmirnov:
    """Two weighted samples of a score.

    The p-value is that of equal weights for (Σw)²/Σw² events, entries of one event being added up,
    which holds approximately.

    Args:
        first: scores, and the events that have them.
        second: likewise.
    """
    score = np.concatenate([first[0], second[0]])
    shares = [events.weight / events.weight.sum() for _, events in (first, second)]
    order = np.argsort(score, kind="stable")
    gap = np.cumsum(np.concatenate([shares[0], -shares[1]])[order])
    last_of_ties = np.append(np.diff(score[order]) > 0, True)
    distance = float(np.abs(gap[last_of_ties]).max())
    m, n = (effective_events(events) for _, events in (first, second))
    p_value = kstwo.sf(distance, max(round(m * n / (m + n)), 1))
    return KolmogorovSmirnov(distance, float(p_value))


def effective_events(events: Events) -> float:
    """(Σw)²/Σw², the sum over events of the squared sum of the weights of their entries."""
    of_event = sums_of_events(events.weight, events.event_id)
    return float(of_event.sum() ** 2 / np.square(of_event).sum())


def _of_network(
    llr: Float[np.ndarray, " events"],
    seen: Float[np.ndarray, " events"],
    events: Events,
    network: int,
    of_class: Bool[np.ndarray, " events"],
) -> KolmogorovSmirnov:
    tested = of_class & (events.fold == network)
    trained = of_class & (events.fold == (network - 1) % events.folds)
    return kolmogorov_smirnov(
        (llr[tested], events.only(tested)), (seen[trained], events.only(trained))
    )


def _worst(tests: list[KolmogorovSmirnov]) -> KolmogorovSmirnov:
    """The least probable of several independent tests, with the p-value of that (Šidák)."""
    worst = min(tests, key=lambda test: test.p_value)
    return KolmogorovSmirnov(
        worst.distance, float(-np.expm1(len(tests) * np.log1p(-min(worst.p_value, 1 - 1e-16))))
    )


def _overtraining(
    llr: Float[np.ndarray, " events"],
    seen: Float[np.ndarray, " events"],
    events: Events,
    chosen: Bool[np.ndarray, " events"],
    tests: list[KolmogorovSmirnov],
) -> Overtraining:
    of_these = events.only(chosen)
    unseen, learned = (losses(score[chosen], of_these) for score in (llr, seen))
    columns = of_these.signal, of_these.weight, of_these.event_id
    return Overtraining(
        auc_difference((seen[chosen], llr[chosen]), *columns),
        mean_of_mixture(unseen - learned, of_these),
        *tests,
    )
