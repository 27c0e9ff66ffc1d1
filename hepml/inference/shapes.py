"""What the shape of a score is worth without bins: the unbinned fit with its bootstrap errors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.config import InferenceJob
from hepml.errors import InputError
from hepml.inference.bootstrap import draw_replicas, spread
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate
from hepml.inference.results import Mu, Unbinned
from hepml.inference.unbinned import Data, UnbinnedFit, asimov, discovery_significance, fit

LARGEST_LLR = 700.0  # whose exponential is a number
SLICES = 1000  # of the score, in each of which the replicas share one ratio


@dataclass(frozen=True)
class Shape:
    """The unbinned fit of one score.

    Attributes:
        fit: to the events themselves.
        significance: with its bootstrap error.
        replicas: significances of the bootstrap replicas.
        mean_ratio: weighted mean of the ratio over the background before it is normalised; 1 if the
            score is a likelihood ratio.
        cells: the events in narrow slices of the score, for what needs many fits.
    """

    fit: UnbinnedFit
    significance: Estimate
    replicas: list[float]
    mean_ratio: Estimate
    cells: Data


def shape_of_score(llr: Float[np.ndarray, " events"], events: Events, job: InferenceJob) -> Shape:
    """Fit the µ = 1 Asimov data that the simulated events themselves are.

    Args:
        llr: natural logarithm of the likelihood ratio of each event.
        events: of all samples.
        job: uncertainty of the background, number of replicas and their seed.

    Raises:
        InputError: if a ratio is too large for a number.
    """
    uncertainty = job.inference.background_uncertainty
    largest = float(llr.max())
    if largest > LARGEST_LLR:
        raise InputError(
            f"inference: {job.method}: a log-likelihood ratio of {largest:.4g} is no ratio of "
            "densities; look at the training (did its loss fall?) and at extreme inputs"
        )
    ratio = np.exp(llr - largest)  # any normalisation will do, so that nothing overflows
    signal, background = (np.where(k, events.weight, 0.0) for k in (events.signal, ~events.signal))
    fitted = fit(asimov(ratio[None], signal[None], background[None]), uncertainty)
    cell, cells = _slices(llr)
    drawn = draw_replicas(events, cell, cells, job.inference.replicas, job.seed)
    of_cell = np.exp(np.bincount(cell, llr - largest, cells) / np.bincount(cell, minlength=cells))
    data = asimov(of_cell[None], drawn.signal, drawn.background)
    values = discovery_significance(data, uncertainty)
    return Shape(
        fitted,
        Estimate(fitted.significance, spread(values)),
        values[1:].tolist(),
        _mean_ratio(llr, events),
        Data(data.ratio[:1], data.number[:1], data.signal[:1], data.background[:1]),
    )


def unbinned_result(shape: Shape | None) -> Unbinned | None:
    """What is written of it."""
    if shape is None:
        return None
    found = shape.fit
    return Unbinned(Mu(found.mu, found.sigma_mu, list(found.interval)), shape.mean_ratio)


def _slices(llr: Float[np.ndarray, " events"]) -> tuple[np.ndarray, int]:
    """Slice of each event, with about as many events in each."""
    edges = np.unique(np.quantile(llr, np.arange(1, SLICES) / SLICES))
    found, cell = np.unique(np.searchsorted(edges, llr, side="right"), return_inverse=True)
    return cell, len(found)


def _mean_ratio(llr: Float[np.ndarray, " events"], events: Events) -> Estimate:
    """Mean of the ratio over the background and its error, entries of one event together."""
    largest = llr.max()
    ratio = np.exp(llr - largest)
    chosen = ~events.signal
    share = events.weight[chosen] / events.weight[chosen].sum()
    mean = float(share @ ratio[chosen])
    residual = share * (ratio[chosen] - mean)
    _, event = np.unique(events.event_id[chosen], return_inverse=True)
    error = float(np.sqrt(np.square(np.bincount(event, residual)).sum()))
    return Estimate(mean * float(np.exp(largest)), error * float(np.exp(largest)))
