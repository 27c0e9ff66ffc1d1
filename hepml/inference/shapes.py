"""What the shape of a score is worth without bins: the unbinned fit with its bootstrap errors."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.config import InferenceJob
from hepml.errors import InputError
from hepml.inference.bootstrap import draw_replicas, spread
from hepml.inference.closure import mean
from hepml.inference.densities import Reference, morphings
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate
from hepml.inference.results import Mu, Unbinned
from hepml.inference.sources import Copy, Systematics
from hepml.inference.unbinned import (
    Data,
    Sources,
    UnbinnedFit,
    asimov,
    discovery_significance,
    fit,
    sources_of,
)

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
        sliced: events in slices of the score; the sample itself, then the replicas.
        sources: what nuisance parameters do in these slices.
    """

    fit: UnbinnedFit
    significance: Estimate
    replicas: list[float]
    mean_ratio: Estimate
    sliced: Data
    sources: Sources

    @property
    def one(self) -> Data:
        """The sample itself in slices of the score."""
        return self.sliced.repeated(1)


def shape_of_score(nominal: Copy, systematics: Systematics, job: InferenceJob) -> Shape:
    """Fit the µ = 1 Asimov data that the simulated events themselves are.

    Args:
        nominal: all events, with the natural logarithm of their likelihood ratio.
        systematics: processes, and all sources of uncertainty.
        job: number of replicas and their seed.

    Raises:
        InputError: if a ratio is too large for a number, or a varied density is not positive.
    """
    events, llr = nominal.events, nominal.variables[0]
    require_ratio(job.method, llr)
    largest = float(llr.max())
    cell, cells = _slices(llr)
    drawn = job.inference.replicas, job.seed
    sums = draw_replicas(events, cell, cells, *drawn)
    of_cell = np.bincount(cell, llr - largest, cells) / np.bincount(cell, minlength=cells)
    data = asimov(np.exp(of_cell)[None], sums.signal, sums.background)
    share = sums.background / sums.background.sum(axis=1)[:, None]
    reference = Reference(of_cell + largest, share * data.ratio, share)
    morphed = morphings(nominal, systematics, reference, drawn)
    values = discovery_significance(data, sources_of(*morphed, reference.score))
    own = morphed[0].first, morphed[1].first
    signal, background = (np.where(k, events.weight, 0.0) for k in (events.signal, ~events.signal))
    # any normalisation of the ratio will do, so that nothing overflows
    single = asimov(np.exp(llr - largest)[None], signal[None], background[None])
    fitted = fit(single, sources_of(*own, llr))
    return Shape(
        fitted,
        Estimate(fitted.significance, spread(values)),
        values[1:].tolist(),
        _mean_ratio(llr, events),
        data,
        sources_of(*own, reference.score),
    )


def require_ratio(method: str, llr: Float[np.ndarray, "..."]) -> None:
    """Refuse logarithms whose exponential is no number.

    Raises:
        InputError: naming the method and the largest of them.
    """
    largest = float(llr.max())
    if not largest <= LARGEST_LLR:
        raise InputError(
            f"inference: {method}: a log-likelihood ratio of {largest:.4g} is no ratio of "
            "densities; look at the training (did its loss fall?) and at extreme inputs"
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
    found = mean(np.exp(llr - largest), events, ~events.signal)
    return Estimate(found.value * float(np.exp(largest)), found.error * float(np.exp(largest)))
