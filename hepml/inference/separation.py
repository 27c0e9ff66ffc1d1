"""How well a method separates the classes, before its yields matter."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from hepml.config import InferenceJob
from hepml.inference.events import Events
from hepml.inference.goals import LeastBackground
from hepml.inference.metrics import (
    Estimate,
    efficiency,
    rejection,
    rejection_at,
    roc_curve,
    thinned,
    weighted_auc,
)
from hepml.inference.results import Rejection, Roc, ScanPoints
from hepml.inference.selection import scan_thresholds, select

REJECTION_AT = (0.3, 0.5)
SCAN_AT = np.linspace(0.01, 0.99, 99)
ROC_POINTS = 200
FARTHEST = 0.02  # of ε_S reached from ε_S wanted, besides two errors


@dataclass(frozen=True)
class Separation:
    """What is known of a method before its yields matter."""

    auc: Estimate | None
    rejection: dict[str, Rejection | None]
    roc: Roc | None
    scan: ScanPoints | None


def separation_of_score(
    job: InferenceJob, score: Float[np.ndarray, " events"], events: Events
) -> Separation:
    """Describe a score, all folds together."""
    settings = job.inference
    columns = score, events.signal, events.weight
    rejected: dict[str, Rejection | None] = {}
    for at in REJECTION_AT:
        found = rejection_at(*columns, at, settings.minimum_background, events.event_id)
        rejected[str(at)] = Rejection(found.value, found.error, at) if found else None
    curve = thinned(roc_curve(*columns), ROC_POINTS)
    scan = scan_thresholds(
        score, events, SCAN_AT, settings.background_uncertainty, settings.minimum_background
    )
    return Separation(
        weighted_auc(*columns, events.event_id),
        rejected,
        Roc(curve.signal.tolist(), curve.background.tolist()),
        ScanPoints(**{name: values.tolist() for name, values in vars(scan).items()}),
    )


def separation_of_cuts(
    job: InferenceJob, variables: Float[np.ndarray, "cuts events"], events: Events
) -> Separation:
    """Describe cuts, which have no curve: for each signal efficiency they are optimised anew.

    Where the least raw background stops them far above that efficiency nothing is quoted, just as
    nothing is for a score. The slope that carries the error of ε_S over to ε_B is that between the
    selections for different efficiencies, at constant d ln ε_B / d ln ε_S.
    """
    total = float(events.weight[events.signal].sum())
    reached = []
    for at in REJECTION_AT:
        goal = LeastBackground(at * total, job.inference.minimum_background)
        passed = select(job.cuts, variables, events, goal).passed
        reached.append(efficiencies(passed, events))
    (s, b), (more_s, more_b) = reached[0], reached[-1]
    power = 1.0  # where both selections are the same: as if ε_B grew with ε_S
    if more_s.value > s.value * (1 + 1e-3):
        power = np.log(more_b.value / b.value) / np.log(more_s.value / s.value)
    rejected: dict[str, Rejection | None] = {}
    for at, (signal, background) in zip(REJECTION_AT, reached, strict=True):
        found = rejection(signal, background, power * background.value / signal.value)
        near = abs(signal.value - at) <= 2 * signal.error + FARTHEST
        rejected[str(at)] = Rejection(found.value, found.error, signal.value) if near else None
    return Separation(None, rejected, None, None)


def efficiencies(passed: Bool[np.ndarray, " events"], events: Events) -> tuple[Estimate, Estimate]:
    """Efficiencies of signal and background."""
    signal, background = (
        efficiency(passed[of_class], events.weight[of_class], events.event_id[of_class])
        for of_class in (events.signal, ~events.signal)
    )
    return signal, background
