"""How well a method separates the classes, before its yields matter."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.config import InferenceJob
from hepml.inference.events import Events
from hepml.inference.goals import LeastBackground
from hepml.inference.metrics import (
    Estimate,
    efficiency,
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
    rejection: dict[str, Rejection | None] = {}
    for at in REJECTION_AT:
        found = rejection_at(score, events.signal, events.weight, at)
        rejection[str(at)] = Rejection(found.value, found.error, at) if found else None
    curve = thinned(roc_curve(score, events.signal, events.weight), ROC_POINTS)
    scan = scan_thresholds(
        score, events, SCAN_AT, settings.background_uncertainty, settings.minimum_background
    )
    return Separation(
        weighted_auc(score, events.signal, events.weight),
        rejection,
        Roc(curve.signal.tolist(), curve.background.tolist()),
        ScanPoints(**{name: values.tolist() for name, values in vars(scan).items()}),
    )


def separation_of_cuts(
    job: InferenceJob, variables: Float[np.ndarray, "cuts events"], events: Events
) -> Separation:
    """Describe cuts, which have no curve: for each signal efficiency they are optimised anew."""
    total = float(events.weight[events.signal].sum())
    rejection: dict[str, Rejection | None] = {}
    for at in REJECTION_AT:
        goal = LeastBackground(at * total, job.inference.minimum_background)
        passed = select(job.cuts, variables, events, goal).passed
        reached = efficiency(passed[events.signal], events.weight[events.signal])
        left = efficiency(passed[~events.signal], events.weight[~events.signal])
        rejection[str(at)] = Rejection(1 / left.value, left.error / left.value**2, reached.value)
    return Separation(None, rejection, None, None)
