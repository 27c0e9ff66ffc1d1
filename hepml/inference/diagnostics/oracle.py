"""How far a score is from the best there is, where the exact log-likelihood ratio is known."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.config import InferenceJob
from hepml.inference.bootstrap import spread
from hepml.inference.closure import losses, mean_of_mixture
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate, auc_difference
from hepml.inference.shapes import shape_of_score
from hepml.inference.sources import Copy, all_sources


@dataclass(frozen=True)
class Distance:
    """Distance of a score to the Neyman-Pearson limit, on the same events.

    Attributes:
        auc: of the exact ratio less that of the score; no score does better but by chance.
        cross_entropy: of the score less that of the exact ratio [nats], likewise.
        rmse: root of the mean squared difference of the logarithms, over both classes equally.
    """

    auc: Estimate
    cross_entropy: Estimate
    rmse: Estimate


@dataclass(frozen=True)
class Limit:
    """What the exact ratio makes of the same events.

    Attributes:
        variable: that holds the exact ratio.
        z_exact: unbinned significance of the exact ratio.
        z_ratio: unbinned significance of the score over that, with its paired error.
    """

    variable: str
    z_exact: Estimate
    z_ratio: Estimate


def distance(
    llr: Float[np.ndarray, " events"], exact: Float[np.ndarray, " events"], events: Events
) -> Distance:
    """Compare a score with the exact ratio event by event.

    Args:
        llr: of each event by a network that never saw it.
        exact: logarithm of the exact ratio.
        events: both classes, of all samples or some.
    """
    columns = events.signal, events.weight, events.event_id
    excess = losses(llr, events) - losses(exact, events)
    square = mean_of_mixture((llr - exact) ** 2, events)
    rmse = np.sqrt(max(square.value, 0.0))
    error = square.error / (2 * rmse) if rmse > 0 else 0.0
    return Distance(
        auc_difference((exact, llr), *columns),
        mean_of_mixture(excess, events),
        Estimate(float(rmse), float(error)),
    )


def limit(
    name: str,
    llr: Float[np.ndarray, " events"],
    exact: Float[np.ndarray, " events"],
    events: Events,
    job: InferenceJob,
) -> Limit:
    """Significance of the unbinned fits to score and exact ratio.

    Both ratios are normalised over the background first; then no score has a larger expected
    significance than the exact one. The bootstrap replicas are those of the inference.

    Args:
        name: variable that holds the exact ratio.
        llr: of each event by a network that never saw it.
        exact: logarithm of the exact ratio.
        events: of all samples.
        job: uncertainty of the background, number of replicas and their seed.
    """
    sources = all_sources(job.inference.background_uncertainty, None, events)
    process = sources.processes.of_event
    learned, best = (
        shape_of_score(Copy(events, process, x[None]), sources, job) for x in (llr, exact)
    )
    value = learned.significance.value / best.significance.value
    replicas = np.array([value, *np.divide(learned.replicas, best.replicas)])
    return Limit(name, best.significance, Estimate(value, spread(replicas)))
