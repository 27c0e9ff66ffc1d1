"""How sources of uncertainty change the density of the score, rate and shape apart.

Of each class the rate is a product of factors, and the shape one of density ratios g(s, α), given
at nodes of the score s and interpolated between them in ln g. Both follow HistFactory's code4 in α.
The product of ratios is normalised at each α: without that, a pull would also change the rate.
docs/decisions/0008 says why ratios of the score's densities are enough.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from hepml.inference.interpolation import Factors


@dataclass(frozen=True)
class Place:
    """Where scores lie among nodes: a share of the way from one node to the next."""

    node: Int[np.ndarray, " cells"]
    share: Float[np.ndarray, " cells"]

    def __call__(self, values: Float[np.ndarray, "*rows nodes"]) -> np.ndarray:
        """Values given at the nodes, interpolated."""
        after = np.minimum(self.node + 1, values.shape[-1] - 1)
        return values[..., self.node] * (1 - self.share) + values[..., after] * self.share


@dataclass(frozen=True)
class Varied:
    """Rate and shape of one class at some α, for the cells of some data.

    Attributes:
        rate: over the nominal one.
        rate_slope: of its logarithm.
        shape: density over the nominal one.
        shape_slope: of its logarithm; zero for sources without a shape.
    """

    rate: Float[np.ndarray, " sets"]
    rate_slope: Float[np.ndarray, "sets sources"]
    shape: Float[np.ndarray, " sets #cells"]
    shape_slope: Float[np.ndarray, " sets sources #cells"]


@dataclass(frozen=True)
class Morphing:
    """What every source does to one class.

    Attributes:
        rates: factors on the yield at α = -1 and 1.
        shaped: numbers of the sources that change the shape.
        nodes: scores, rising.
        ratios: density over the nominal one at the nodes, at α = -1 and 1, of sources with a shape.
        reference: scores of the sample on which shapes are normalised.
        weight: of these, with sum 1.
    """

    rates: Float[np.ndarray, "2 sources"]
    shaped: Int[np.ndarray, " shaped"]
    nodes: Float[np.ndarray, " nodes"]
    ratios: Float[np.ndarray, "2 nodes shaped"]
    reference: Float[np.ndarray, " references"]
    weight: Float[np.ndarray, " references"]

    @cached_property
    def _factors(self) -> tuple[Factors, Factors]:
        return Factors(*self.rates), Factors(*self.ratios)

    @cached_property
    def _reference_place(self) -> Place:
        return self.place(self.reference)

    def place(self, score: Float[np.ndarray, " cells"]) -> Place:
        """Where scores lie among the nodes; beyond the last node, at it."""
        if len(self.nodes) < 2:
            return Place(np.zeros(len(score), np.int64), np.zeros(len(score)))
        before = np.searchsorted(self.nodes, score, side="right") - 1
        before = np.clip(before, 0, len(self.nodes) - 2)
        share = (score - self.nodes[before]) / np.diff(self.nodes)[before]
        return Place(before, np.clip(share, 0, 1))

    def __call__(self, alpha: Float[np.ndarray, "sets sources"], place: Place) -> Varied:
        """Rate and shape at α in cells that lie among the nodes."""
        rates = self._factors[0](alpha)
        rate, rate_slope = rates.value.prod(axis=1), rates.slope / rates.value
        slope = np.zeros((*alpha.shape, len(place.node) if len(self.shaped) else 1))
        if not len(self.shaped):
            return Varied(rate, rate_slope, np.ones((len(alpha), 1)), slope)
        at_nodes = self._factors[1](alpha[:, None, self.shaped])
        logs = np.log(at_nodes.value).sum(axis=2)  # sets, nodes
        slopes = (at_nodes.slope / at_nodes.value).swapaxes(1, 2)  # sets, shaped, nodes
        there = self._reference_place
        share = self.weight * np.exp(there(logs))
        norm = share.sum(axis=1)
        norm_slope = (share[:, None] * there(slopes)).sum(axis=2) / norm[:, None]
        slope[:, self.shaped] = place(slopes) - norm_slope[..., None]
        return Varied(rate, rate_slope, np.exp(place(logs)) / norm[:, None], slope)


def rate_only(rates: Float[np.ndarray, "2 sources"]) -> Morphing:
    """Sources that change nothing but the yield."""
    none = np.zeros(0)
    return Morphing(rates, none.astype(np.int64), none, np.ones((2, 0, 0)), none, none)
