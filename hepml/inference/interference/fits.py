"""Likelihoods of a signal that interferes: of every event, of bins, and of a mere count.

All are of the same events. A bin is one cell whose densities are the sums of its simulated events,
so that only the unbinned fit trusts a ratio.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Integer, Shaped

from hepml.errors import InputError
from hepml.inference.interference.likelihood import InterferenceLikelihood, Terms
from hepml.inference.interference.neyman import Simulated
from hepml.inference.interference.samples import Kind, Samples, shares_of
from hepml.inference.uncertainties import LEAST_EFFECTIVE

GROUPS = 40  # quantiles of each of the two numbers that group events


@dataclass(frozen=True)
class Cells:
    """Events, or bins, with what is expected in them.

    Attributes:
        terms: densities of S, SBI and B as shares of their sum.
        reference: expected events of all three together.
        asimov: events expected at µ = 1.
    """

    terms: Terms
    reference: Float[np.ndarray, " cells"]
    asimov: Float[np.ndarray, " cells"]

    @property
    def yields(self) -> Terms:
        """Expected numbers of events of S, SBI and B, one value each."""
        each = (self.terms.signal, self.terms.total, self.terms.background)
        return Terms(*(np.array([float(self.reference @ x)]) for x in each))

    @property
    def simulated(self) -> Simulated:
        """For toys."""
        return Simulated(self.terms, self.reference, self.yields)

    @property
    def information(self) -> float:
        """Of µ at µ = 1, Σ (dλ/dµ)²/λ (Fisher)."""
        slope = (self.terms.signal + self.terms.total - self.terms.background) / 2
        return float(self.asimov @ (slope / self.terms.total) ** 2)

    def likelihood(
        self, largest_mu: float, number: Shaped[np.ndarray, " cells"] | None = None
    ) -> InterferenceLikelihood:
        """Of Asimov data at µ = 1, or of numbers of observed events.

        Raises:
            InputError: if a density is not positive for some µ.
        """
        number = self.asimov if number is None else number
        kept = number != 0  # cells without events have their share in the yields
        terms = Terms(self.terms.signal[kept], self.terms.total[kept], self.terms.background[kept])
        return InterferenceLikelihood(terms, self.yields, number[kept], largest_mu)


def of_events(terms: Terms, samples: Samples) -> Cells:
    """Every event is a cell; the Asimov data are those of SBI."""
    return Cells(terms, samples.weight, np.where(samples.of(Kind.SBI), samples.weight, 0.0))


def of_bins(bin_: Integer[np.ndarray, " events"], bins: int, samples: Samples) -> Cells:
    """Sums of the simulated events in each bin.

    Args:
        bin_: of each event; those in no bin have -1.
        bins: how many there are.
        samples: all events.
    """
    inside = bin_ >= 0
    cell = 3 * bin_[inside] + samples.kind[inside]
    contents = np.bincount(cell, samples.weight[inside], 3 * bins).reshape(bins, 3)
    # a bin in which a class has nothing by chance has next to nothing of it
    least = 1e-9 * contents.sum(axis=1, keepdims=True)
    shares, _ = shares_of(np.log(np.maximum(contents, least)).T, np.zeros(2))
    reference = contents.sum(axis=1)
    return Cells(Terms(*shares), reference, reference * shares[1])


def require_events(bin_: Integer[np.ndarray, " events"], bins: int, samples: Samples) -> None:
    """Refuse bins in which SBI rests on a handful of events.

    Raises:
        InputError: naming the worst bin, and the mend.
    """
    of_sbi = samples.of(Kind.SBI) & (bin_ >= 0)
    weight = samples.weight[of_sbi]
    total, squares = (np.bincount(bin_[of_sbi], x, bins) for x in (weight, weight**2))
    with np.errstate(invalid="ignore"):
        effective = np.where(total > 0, total**2 / squares, 0.0)
    worst = int(np.argmin(effective))
    if effective[worst] < LEAST_EFFECTIVE:
        raise InputError(
            f"interference: bin {worst} of {bins} holds {total[worst]:.4g} expected events of SBI, "
            f"worth {effective[worst]:.1f} events of equal weight, and {LEAST_EFFECTIVE:g} are "
            "needed; lower interference.bins, loosen the cuts, or simulate more"
        )


def most_sensitive(terms: Terms) -> Float[np.ndarray, " events"]:
    """The observable that is most sensitive to µ at µ = 1: d ln λ/d√µ = (S + SBI - B)/SBI."""
    return (terms.signal + terms.total - terms.background) / terms.total


def quantiles(
    observable: Float[np.ndarray, " events"], samples: Samples, bins: int
) -> Float[np.ndarray, " edges"]:
    """Inner edges of bins of an observable with equally many simulated events of SBI."""
    of_sbi = observable[samples.of(Kind.SBI)]
    return np.unique(np.quantile(of_sbi, np.arange(1, bins) / bins))


def groups_of(terms: Terms) -> Integer[np.ndarray, " events"]:
    """Events of like densities.

    Two numbers say all about the densities: the most sensitive observable and the share of S in
    S + B. What is lost is the spread within a group of about a thousandth of the events.
    """
    first = _quantile(most_sensitive(terms))
    second = np.empty(len(first), np.int64)
    share = terms.signal / (terms.signal + terms.background)
    for k in range(GROUPS):
        second[first == k] = _quantile(share[first == k])
    return np.unique(first * GROUPS + second, return_inverse=True)[1]


def grouped(cells: Cells, group: Integer[np.ndarray, " events"]) -> Cells:
    """Each group of events as one cell: for toys, which are then fast."""
    reference = np.bincount(group, cells.reference)
    terms = cells.terms
    with np.errstate(divide="ignore", invalid="ignore"):
        each = [
            np.bincount(group, cells.reference * x) / reference
            for x in (terms.signal, terms.total, terms.background)
        ]
    return Cells(Terms(*each), reference, np.bincount(group, cells.asimov))


def _quantile(values: Float[np.ndarray, " events"]) -> Integer[np.ndarray, " events"]:
    edges = np.unique(np.quantile(values, np.arange(1, GROUPS) / GROUPS)) if len(values) else values
    return np.searchsorted(edges, values, side="right")
