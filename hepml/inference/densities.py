"""Density ratios of the score, varied over nominal, from simulated events.

In slices of the score the varied events of a class are divided by the nominal ones. An unbinned fit
knows of an event its score alone, so that these are the density ratios it needs: factors on the
weights of events are averaged in a slice too, for no measurement has them event by event.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hepml.errors import InputError
from hepml.inference.bootstrap import replica_sums
from hepml.inference.morphing import Morphing
from hepml.inference.sources import Copy, Source, Systematics, varied_contents

SLICES = 20  # of a mixture of both classes in equal parts
LEAST_EVENTS = 200  # of a class in each of its slices: 7 % for what is not in both samples
NO_SHAPE = 1e-9  # largest change of a ratio that is rounding


@dataclass(frozen=True)
class Reference:
    """Cells that stand for integrals over the score, in the sample itself and in its replicas.

    Attributes:
        score: of each cell.
        signal: share of each cell as the model has it: background times the likelihood ratio.
        background: share of each cell.
    """

    score: Float[np.ndarray, " cells"]
    signal: Float[np.ndarray, "replicas cells"]
    background: Float[np.ndarray, "replicas cells"]


@dataclass(frozen=True)
class _Class:
    """Events of one class in slices of the score.

    Attributes:
        title: of the class, for messages.
        edges: inner edges of the slices.
        nodes: mean score of each.
        chosen: which processes are of the class.
        drawn: number of bootstrap replicas and their seed.
    """

    title: str
    edges: Float[np.ndarray, " edges"]
    nodes: Float[np.ndarray, " nodes"]
    chosen: Bool[np.ndarray, " processes"]
    drawn: tuple[int, int]

    def sums(self, copy: Copy) -> Float[np.ndarray, "replicas processes nodes"]:
        """Expected events of each process in each slice."""
        number, nodes = len(self.chosen), len(self.nodes)
        where = np.searchsorted(self.edges, copy.variables[0], side="right")
        cells = copy.process * nodes + where
        filled = replica_sums(copy.events, cells, number * nodes, *self.drawn)
        return filled.reshape(-1, number, nodes)


def morphings(
    nominal: Copy, systematics: Systematics, reference: Reference, drawn: tuple[int, int]
) -> tuple[Morphing, Morphing]:
    """What all sources do to signal and to background, in the sample and in bootstrap replicas.

    A replica in which a varied density is not positive somewhere has the effect of that source in
    the sample.

    Args:
        nominal: all events, with their log-likelihood ratio.
        systematics: processes and sources.
        reference: on which shapes are normalised.
        drawn: number of replicas and their seed.

    Raises:
        InputError: if a varied density is not positive somewhere.
    """
    edges = _common_edges(nominal)
    signal, background = (
        _morphing(
            _sliced(nominal, systematics, edges, drawn, is_signal=is_signal),
            (nominal, systematics.sources),
            (reference.score, reference.signal if is_signal else reference.background),
        )
        for is_signal in (True, False)
    )
    return signal, background


def _common_edges(nominal: Copy) -> Float[np.ndarray, " edges"]:
    """Quantiles of signal and background in equal parts."""
    score, of_signal = nominal.variables[0], nominal.events.signal
    share = np.where(of_signal, 1 / of_signal.sum(), 1 / (~of_signal).sum())
    order = np.argsort(score, kind="stable")
    below = np.cumsum(share[order]) / share.sum()
    at = np.searchsorted(below, np.arange(1, SLICES) / SLICES)
    return np.unique(score[order][at])


def _sliced(
    nominal: Copy,
    systematics: Systematics,
    edges: Float[np.ndarray, " edges"],
    drawn: tuple[int, int],
    *,
    is_signal: bool,
) -> _Class:
    """Slices merged from the signal end until each has enough events of the class."""
    chosen = nominal.events.signal == is_signal
    score = nominal.variables[0, chosen]
    raw = np.bincount(np.searchsorted(edges, score, side="right"), minlength=len(edges) + 1)
    kept = edges[_merged(raw) - 1]
    where = np.searchsorted(kept, score, side="right")
    slices = len(kept) + 1
    number = np.bincount(where, minlength=slices)
    # raw means: weights of either sign could put a mean outside its slice
    nodes = np.bincount(where, score, slices) / np.maximum(number, 1)
    of_class = systematics.processes.signal == is_signal
    return _Class("signal" if is_signal else "background", kept, nodes, of_class, drawn)


def _merged(raw: Int[np.ndarray, " slices"]) -> Int[np.ndarray, " firsts"]:
    """First slices of the merged ones, but for that of the lowest."""
    firsts: list[int] = []
    held = 0
    for i in range(len(raw) - 1, 0, -1):
        held += int(raw[i])
        if held >= LEAST_EVENTS and raw[:i].sum() >= LEAST_EVENTS:
            firsts.append(i)
            held = 0
    return np.array(firsts[::-1], dtype=np.int64)


def _morphing(
    of_class: _Class,
    given: tuple[Copy, tuple[Source, ...]],
    reference: tuple[Float[np.ndarray, " cells"], Float[np.ndarray, "replicas cells"]],
) -> Morphing:
    nominal, sources = of_class.sums(given[0]), given[1]
    before = nominal[:, of_class.chosen].sum(axis=1)
    _check_nominal(of_class, before[0])
    rates, ratios = np.ones((2, len(before), len(sources))), []
    shaped = []
    for k, source in enumerate(sources):
        contents = varied_contents(source, nominal, of_class.sums)
        varied = contents[:, :, of_class.chosen].sum(axis=2)
        _check(of_class, source, varied[:, 0] / before[0])
        good = (before > 0).all(axis=1) & (varied > 0).all(axis=(0, 2))
        varied, own = (np.where(good[:, None], x, x[..., :1, :]) for x in (varied, before))
        rates[:, :, k] = varied.sum(axis=2) / own.sum(axis=1)
        ratio = varied / own / rates[:, :, k, None]
        if np.abs(ratio[:, 0] - 1).max() > NO_SHAPE:
            shaped.append(k)
            ratios.append(ratio)
    return Morphing(
        rates,
        np.array(shaped, dtype=np.int64),
        of_class.nodes,
        np.stack(ratios, axis=3) if ratios else np.ones((2, *before.shape, 0)),
        *reference,
    )


def _check_nominal(of_class: _Class, total: Float[np.ndarray, " nodes"]) -> None:
    if (total <= 0).any():
        worst = int(np.argmin(total))
        raise InputError(
            f"inference: {of_class.title} of {total[worst]:.4g} events at scores around "
            f"{of_class.nodes[worst]:.3g}: negative weights outweigh the others; simulate more "
            "events"
        )


def _check(of_class: _Class, source: Source, ratio: Float[np.ndarray, "2 nodes"]) -> None:
    for name, values in zip(("down", "up"), ratio, strict=True):
        worst = int(np.argmin(values))
        if not values[worst] > 0:
            raise InputError(
                f"inference: systematics.{source.name}, {name}: the density of the "
                f"{of_class.title} becomes {values[worst]:.3g} times the nominal one at scores "
                f"around {of_class.nodes[worst]:.3g}; simulate more events, or check the variation"
            )
