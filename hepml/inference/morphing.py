"""How sources of uncertainty change the density of the score, rate and shape apart.

Of each class the rate is a product of factors, and the shape one of density ratios g(s, α), given
at nodes of the score s and interpolated between them in ln g. Both follow HistFactory's code4 in α.
The product of ratios is normalised at each α: without that, a pull would also change the rate.
docs/decisions/0008 says why ratios of the score's densities are enough.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from hepml.inference.interpolation import Curve, Factors


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
        rate_bend: second derivative of its logarithm.
        shape: density over the nominal one.
        shape_slope: of its logarithm; zero for sources without a shape.
        shape_bend: second derivative of its logarithm but for the normalisation.
        norm_bend: second derivatives of the logarithm of the normalisation.
    """

    rate: Float[np.ndarray, " sets"]
    rate_slope: Float[np.ndarray, "sets sources"]
    rate_bend: Float[np.ndarray, "sets sources"]
    shape: Float[np.ndarray, " sets #cells"]
    shape_slope: Float[np.ndarray, " sets sources #cells"]
    shape_bend: Float[np.ndarray, " sets sources #cells"]
    norm_bend: Float[np.ndarray, "sets sources sources"]

    def curvature(
        self, weight: Float[np.ndarray, "sets cells"]
    ) -> Float[np.ndarray, "sets sources sources"]:
        """Σ weight · second derivatives of a density over that density."""
        slope = self.rate_slope[..., None] + self.shape_slope
        slope = np.broadcast_to(slope, (*slope.shape[:2], weight.shape[1]))
        total = weight.sum(axis=1)[:, None]
        bend = self.rate_bend * total + (self.shape_bend * weight[:, None]).sum(axis=2)
        products = (weight[:, None] * slope) @ slope.swapaxes(1, 2)
        own = bend[:, :, None] * np.eye(bend.shape[1])
        return products + own - self.norm_bend * total[..., None]


@dataclass(frozen=True)
class Morphing:
    """What every source does to one class, the same in all sets of data or in each its own.

    Attributes:
        rates: factors on the yield at α = -1 and 1.
        shaped: numbers of the sources that change the shape.
        nodes: scores, rising.
        ratios: density over the nominal one at the nodes, at α = -1 and 1, of sources with a shape.
        reference: scores of the sample on which shapes are normalised.
        weight: of these, with sum 1.
    """

    rates: Float[np.ndarray, "2 #sets sources"]
    shaped: Int[np.ndarray, " shaped"]
    nodes: Float[np.ndarray, " nodes"]
    ratios: Float[np.ndarray, "2 #sets nodes shaped"]
    reference: Float[np.ndarray, " references"]
    weight: Float[np.ndarray, "#sets references"]

    @property
    def first(self) -> "Morphing":
        """That of the first set."""
        sets = {name: getattr(self, name)[:, :1] for name in ("rates", "ratios")}
        return replace(self, **sets, weight=self.weight[:1])

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
        of_rate = rates.value.prod(axis=1), *_logarithmic(rates)
        slope = np.zeros((*alpha.shape, len(place.node) if len(self.shaped) else 1))
        bend, norm_bend = np.zeros_like(slope), np.zeros((*alpha.shape, alpha.shape[1]))
        if not len(self.shaped):
            return Varied(*of_rate, np.ones((len(alpha), 1)), slope, bend, norm_bend)
        at_nodes = self._factors[1](alpha[:, None, self.shaped])
        logs = np.log(at_nodes.value).sum(axis=2)  # sets, nodes
        slopes, bends = (x.swapaxes(1, 2) for x in _logarithmic(at_nodes))  # sets, shaped, nodes
        there = self._reference_place
        share = self.weight * np.exp(there(logs))
        norm = share.sum(axis=1)
        share = (share / norm[:, None])[:, None]
        at_reference = there(slopes)
        norm_slope = (share * at_reference).sum(axis=2)
        products = (share * at_reference) @ at_reference.swapaxes(1, 2)
        own = (share * there(bends)).sum(axis=2)[:, :, None] * np.eye(len(self.shaped))
        norm_bend[:, self.shaped[:, None], self.shaped] = (
            products + own - norm_slope[:, :, None] * norm_slope[:, None, :]
        )
        slope[:, self.shaped] = place(slopes) - norm_slope[..., None]
        bend[:, self.shaped] = place(bends)
        return Varied(*of_rate, np.exp(place(logs)) / norm[:, None], slope, bend, norm_bend)


def _logarithmic(curve: Curve) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivative of the logarithm."""
    slope = curve.slope / curve.value
    return slope, curve.curvature / curve.value - slope**2


def rate_only(rates: Float[np.ndarray, "2 sources"]) -> Morphing:
    """Sources that change nothing but the yield."""
    none = np.zeros(0)
    empty = np.ones((2, 1, 0, 0))
    return Morphing(rates[:, None], none.astype(np.int64), none, empty, none, none[None])
