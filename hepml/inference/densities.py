"""Density ratios of the score, varied over nominal, from simulated events.

In slices of the score the varied events of a class are divided by the nominal ones. An unbinned fit
knows of an event its score alone, so that these are the density ratios it needs: factors on the
weights of events are averaged in a slice too, for no measurement has them event by event.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from hepml.errors import InputError
from hepml.inference.morphing import Morphing
from hepml.inference.sources import Copy, Source, Systematics, varied_contents

SLICES = 20  # of a mixture of both classes in equal parts
LEAST_EVENTS = 200  # of a class in each of its slices: 7 % for what is not in both samples
NO_SHAPE = 1e-9  # largest change of a ratio that is rounding


@dataclass(frozen=True)
class Reference:
    """Cells that stand for integrals over the score.

    Attributes:
        score: of each cell.
        signal: share of each cell as the model has it: background times the likelihood ratio.
        background: share of each cell.
    """

    score: Float[np.ndarray, " cells"]
    signal: Float[np.ndarray, " cells"]
    background: Float[np.ndarray, " cells"]


@dataclass(frozen=True)
class _Class:
    """Events of one class in slices of the score.

    Attributes:
        title: of the class, for messages.
        edges: inner edges of the slices.
        nodes: mean score of each.
        nominal: expected events of each process in each.
        chosen: which processes are of the class.
    """

    title: str
    edges: Float[np.ndarray, " edges"]
    nodes: Float[np.ndarray, " nodes"]
    nominal: Float[np.ndarray, "processes nodes"]
    chosen: Bool[np.ndarray, " processes"]

    def sums(self, copy: Copy) -> Float[np.ndarray, "processes nodes"]:
        """Events of each process in each slice."""
        number, nodes = self.nominal.shape
        where = np.searchsorted(self.edges, copy.variables[0], side="right")
        cells = copy.process * nodes + where
        filled = np.bincount(cells, copy.events.weight, number * nodes).astype(np.float64)
        return filled.reshape(number, nodes)


def morphings(
    nominal: Copy, systematics: Systematics, reference: Reference
) -> tuple[Morphing, Morphing]:
    """What all sources do to signal and to background.

    Args:
        nominal: all events, with their log-likelihood ratio.
        systematics: processes and sources.
        reference: on which shapes are normalised.

    Raises:
        InputError: if a varied density is not positive somewhere.
    """
    edges = _common_edges(nominal)
    signal, background = (
        _morphing(
            _sliced(nominal, systematics, edges, is_signal=is_signal),
            systematics.sources,
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
    empty = np.zeros((len(of_class), slices))
    made = _Class("signal" if is_signal else "background", kept, nodes, empty, of_class)
    contents = made.sums(nominal)
    total = contents[of_class].sum(axis=0)
    if (total <= 0).any():
        worst = int(np.argmin(total))
        raise InputError(
            f"inference: {made.title} of {total[worst]:.4g} events at scores around "
            f"{nodes[worst]:.3g}: negative weights outweigh the others; simulate more events"
        )
    return _Class(made.title, kept, nodes, contents, of_class)


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
    sources: tuple[Source, ...],
    reference: tuple[Float[np.ndarray, " cells"], Float[np.ndarray, " cells"]],
) -> Morphing:
    rates, ratios = np.ones((2, len(sources))), []
    shaped = []
    for k, source in enumerate(sources):
        contents = varied_contents(source, of_class.nominal, of_class.sums)
        varied = contents[:, of_class.chosen].sum(axis=1)
        before = of_class.nominal[of_class.chosen].sum(axis=0)
        rates[:, k] = varied.sum(axis=1) / before.sum()
        ratio = varied / before / rates[:, k, None]
        _check(of_class, source, varied / before)
        if np.abs(ratio - 1).max() > NO_SHAPE:
            shaped.append(k)
            ratios.append(ratio)
    return Morphing(
        rates,
        np.array(shaped, dtype=np.int64),
        of_class.nodes,
        np.stack(ratios, axis=2) if ratios else np.ones((2, len(of_class.nodes), 0)),
        *reference,
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
