"""Is a score a likelihood ratio? What holds for an exact one, checked with errors.

With r = p(x|S)/p(x|B), exact: E_B[r] = 1, E_S[1/r] = 1, and over the mixture M = (S + B)/2 of both,
E_M[2r/(1 + r)] = 1 with weights in [0, 2]; the first two have infinite variance if the tails of the
classes differ, the third never. ln r is also its own calibration: the line of lowest cross-entropy
through it has slope 1 and offset 0.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import expit

from hepml.data.entries import root_sum_square
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate, auc_difference
from hepml.training.calibration import balanced, derivatives, fit_line, gradients

BINS = 12  # of the reliability diagram
ALLOWED = 0.05  # departure of slope and offset that is not a matter of statistics
ALLOWED_MEAN = 0.02  # departure of the bounded mean from 1, likewise
ERRORS = 3.0  # standard errors before a departure counts


@dataclass(frozen=True)
class Reliability:
    """Logarithm of the ratio of both classes in slices of the score, which it should equal.

    Attributes:
        score: mean of the score in each slice.
        observed: ln(share of signal / share of background) there.
        error: of ``observed``.
    """

    score: list[float]
    observed: list[float]
    error: list[float]


@dataclass(frozen=True)
class Closure:
    """Checks of a log-likelihood ratio on events that its network never saw.

    Attributes:
        slope: of the line of lowest cross-entropy; 1 if calibrated.
        offset: of the same line; 0 if calibrated.
        slope_of_folds: each with its own network.
        mean_ratio: E_B[r].
        mean_inverse: E_S[1/r].
        mean_of_mixture: E_M[2r/(1 + r)].
        kl_signal: E_S[ln r], an estimate of KL(S‖B) [nats] if exact.
        kl_background: -E_B[ln r], of KL(B‖S) [nats].
        cross_entropy: of balanced classes [nats]; ln 2 for a score that knows nothing.
        over_training: AUC of events the networks trained on less that of events they did not see.
        reliability: slice by slice.
    """

    slope: Estimate
    offset: Estimate
    slope_of_folds: list[Estimate]
    mean_ratio: Estimate
    mean_inverse: Estimate
    mean_of_mixture: Estimate
    kl_signal: Estimate
    kl_background: Estimate
    cross_entropy: Estimate
    over_training: Estimate
    reliability: Reliability


def check_closure(
    llr: Float[np.ndarray, " events"], seen: Float[np.ndarray, " events"], events: Events
) -> Closure:
    """All checks of one score.

    Args:
        llr: of each event by a network that never saw it.
        seen: the same by a network that trained on it.
        events: of all samples.
    """
    slope, offset = calibration_line(llr, events)
    of_fold = [events.fold == fold for fold in range(events.folds)]
    return Closure(
        slope=slope,
        offset=offset,
        slope_of_folds=[calibration_line(llr[k], events.only(k))[0] for k in of_fold],
        mean_ratio=mean(np.exp(llr), events, ~events.signal),
        mean_inverse=mean(np.exp(-llr), events, events.signal),
        mean_of_mixture=mean_of_mixture(2 * expit(llr), events),
        kl_signal=mean(llr, events, events.signal),
        kl_background=mean(-llr, events, ~events.signal),
        cross_entropy=mean_of_mixture(losses(llr, events), events),
        over_training=_over_training(llr, seen, events),
        reliability=reliability(llr, events),
    )


def departures(closure: Closure) -> list[str]:
    """Checks that fail by more than statistics and a small allowance, in words."""
    checks = (
        ("the slope of the calibration", closure.slope, 1.0, ALLOWED),
        ("the offset of the calibration", closure.offset, 0.0, ALLOWED),
        ("the mean of 2r/(1 + r) over both classes", closure.mean_of_mixture, 1.0, ALLOWED_MEAN),
    )
    return [
        f"{name} is {found.value:.3f} ± {found.error:.3f} where a likelihood ratio has {exact:g}"
        for name, found, exact, allowed in checks
        if abs(found.value - exact) > allowed + ERRORS * found.error
    ]


def mean(
    values: Float[np.ndarray, " events"], events: Events, chosen: Bool[np.ndarray, " events"]
) -> Estimate:
    """Weighted mean over some of the events, its error with entries of one event together."""
    share = events.weight[chosen] / events.weight[chosen].sum()
    value = float(share @ values[chosen])
    influence = share * (values[chosen] - value)
    return Estimate(value, root_sum_square(influence, events.event_id[chosen]))


def losses(llr: Float[np.ndarray, " events"], events: Events) -> Float[np.ndarray, " events"]:
    """Cross-entropy of each event [nats], the classes being equally probable."""
    return np.logaddexp(0, np.where(events.signal, -llr, llr))


def mean_of_mixture(values: Float[np.ndarray, " events"], events: Events) -> Estimate:
    """Mean over both classes, each counted half."""
    share = balanced(events.weight, events.signal)
    influence = np.empty(len(values))
    for chosen in (events.signal, ~events.signal):
        of_class = share[chosen] @ values[chosen] / share[chosen].sum()
        influence[chosen] = share[chosen] * (values[chosen] - of_class)
    return Estimate(float(share @ values), root_sum_square(influence, events.event_id))


def calibration_line(
    llr: Float[np.ndarray, " events"], events: Events
) -> tuple[Estimate, Estimate]:
    """Slope and offset of the lowest cross-entropy, with errors.

    Errors from the influence H⁻¹g of each event, g being its gradient and H the Hessian.
    """
    line = fit_line(llr, events.signal, events.weight)
    at = np.array([line.slope, line.offset])
    share = balanced(events.weight, events.signal)
    design = np.stack([llr, np.ones_like(llr)])
    _, hessian = derivatives(design, at, share, events.signal)
    slopes, offsets = np.linalg.solve(hessian, gradients(design, at, share, events.signal))
    return (
        Estimate(line.slope, root_sum_square(slopes, events.event_id)),
        Estimate(line.offset, root_sum_square(offsets, events.event_id)),
    )


def reliability(llr: Float[np.ndarray, " events"], events: Events) -> Reliability:
    """Slices of the score with equal shares of the mixture; those without both classes are left."""
    share = balanced(events.weight, events.signal)
    edges = np.unique(np.quantile(llr, np.arange(1, BINS) / BINS))
    slice_of_event = np.searchsorted(edges, llr, side="right")
    score, observed, error = [], [], []
    for number in range(len(edges) + 1):
        inside = slice_of_event == number
        sums, relative = [], []
        for chosen in (inside & events.signal, inside & ~events.signal):
            sums.append(share[chosen].sum())
            relative.append(root_sum_square(share[chosen], events.event_id[chosen]))
        if min(sums) > 0:
            score.append(float(np.average(llr[inside], weights=np.abs(share[inside]))))
            observed.append(float(np.log(sums[0] / sums[1])))
            error.append(float(np.hypot(relative[0] / sums[0], relative[1] / sums[1])))
    return Reliability(score, observed, error)


def _over_training(
    llr: Float[np.ndarray, " events"], seen: Float[np.ndarray, " events"], events: Events
) -> Estimate:
    """Gain in AUC on events seen: both scores are of the same events, so the error is paired."""
    return auc_difference((seen, llr), events.signal, events.weight, events.event_id)
