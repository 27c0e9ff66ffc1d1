"""All diagnostics of one method, from arrays to the record."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float

from hepml.config import DiagnosticsJob
from hepml.inference.closure import losses, mean_of_mixture
from hepml.inference.diagnostics.oracle import Limit, distance, limit
from hepml.inference.diagnostics.overtraining import overtraining
from hepml.inference.diagnostics.record import Checks, Diagnostics
from hepml.inference.diagnostics.reweighting import reweighted
from hepml.inference.diagnostics.sculpting import Sculpting, sculpting
from hepml.inference.diagnostics.two_sample import two_sample
from hepml.inference.diagnostics.verdict import judged
from hepml.inference.events import Events
from hepml.inference.goals import LeastBackground
from hepml.inference.metrics import roc_curve, weighted_auc
from hepml.inference.selection import select

SIGNAL_EFFICIENCY = 0.5  # of the selection whose sculpting is looked at

Variables = Mapping[str, Float[np.ndarray, " events"]]


def diagnosed(
    job: DiagnosticsJob,
    judged_by: Float[np.ndarray, "rows events"],
    variables: Variables,
    events: Events,
) -> Diagnostics:
    """Every check of one method.

    Args:
        job: settings.
        judged_by: log-likelihood ratio of each event by a network that never saw it and by one
            that trained on it; or the variables that are cut on.
        variables: all that the job names.
        events: of all samples.

    Raises:
        InputError: if a check fails and ``inference.gate`` is "fail".
    """
    found = Diagnostics(
        method=job.method,
        title=job.title,
        variables=list(job.variables),
        complete=job.complete,
        two_sample_before=None,
        all=None,
        folds=[],
        reweighted=[],
        sculpting=_sculpting(job, judged_by, variables, events),
        limit=None,
        warnings=[],
    )
    if not job.cuts:
        found = _with_checks(found, job, judged_by, variables, events)
    return replace(found, warnings=judged(job, found))


def _with_checks(
    found: Diagnostics,
    job: DiagnosticsJob,
    ratios: Float[np.ndarray, "2 events"],
    variables: Variables,
    events: Events,
) -> Diagnostics:
    llr, seen = ratios
    exact = variables[job.exact] if job.exact else None
    every = [np.ones(len(llr), bool), *(events.fold == fold for fold in range(events.folds))]
    tested = np.stack([variables[name] for name in job.variables])
    checks = [
        Checks(
            mean_of_mixture(losses(llr[k], events.only(k)), events.only(k)),
            auc,
            trained,
            None if exact is None else distance(llr[k], exact[k], events.only(k)),
        )
        for k, auc, trained in zip(
            every,
            two_sample(llr, tested, events, job.seed),
            overtraining(llr, seen, events),
            strict=True,
        )
    ]
    of_score = weighted_auc(llr, events.signal, events.weight)
    return replace(
        found,
        two_sample_before=(0.5 + of_score.value) / 2,  # half of the mixture is signal itself
        all=checks[0],
        folds=checks[1:],
        reweighted=[reweighted(name, variables[name], llr, events) for name in job.variables],
        limit=_limit(job, llr, exact, events),
    )


def _limit(
    job: DiagnosticsJob,
    llr: Float[np.ndarray, " events"],
    exact: Float[np.ndarray, " events"] | None,
    events: Events,
) -> Limit | None:
    if exact is None or job.exact is None:
        return None
    return limit(job.exact, llr, exact, events, job)


def _sculpting(
    job: DiagnosticsJob,
    judged_by: Float[np.ndarray, "rows events"],
    variables: Variables,
    events: Events,
) -> Sculpting | None:
    name = job.inference.sculpting
    if name is None:
        return None
    if job.cuts:
        wanted = SIGNAL_EFFICIENCY * float(events.weight[events.signal].sum())
        goal = LeastBackground(wanted, job.inference.minimum_background)
        passed = select(job.cuts, judged_by, events, goal).passed
    else:
        passed = _passed(judged_by[0], events)
    random = np.random.default_rng(job.seed)
    return sculpting(name, variables[name], passed, events, random)


def _passed(llr: Float[np.ndarray, " events"], events: Events) -> Bool[np.ndarray, " events"]:
    """Events above the threshold that keeps so much signal."""
    curve = roc_curve(llr, events.signal, events.weight)
    rising = np.maximum.accumulate(curve.signal)
    crossed = min(int(np.searchsorted(rising, SIGNAL_EFFICIENCY - 1e-12)), len(rising) - 1)
    return llr >= curve.threshold[crossed]
