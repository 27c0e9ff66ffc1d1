"""What an honest analysis passes and a leak does not: one finding per question."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer
from scipy.optimize import brentq
from scipy.stats import kstest, kstwo, norm
from torch import Tensor, nn

from hepml.data.folds import splitmix64
from hepml.inference.diagnostics.oracle import Limit
from hepml.inference.diagnostics.verdict import BETTER_Z
from hepml.inference.events import Events
from hepml.inference.metrics import weighted_auc
from hepml.inference.unbinned import Data, asimov

STRENGTHS = (0.0, 0.5, 1.0, 2.0)  # µ that is injected
REPLICAS = 20
ALLOWED_MU = 0.1  # of slope and offset, for a ratio that is learned
ERRORS = 4.0
REFERENCES, TOYS = 20000, 300
LEAST_P = 1e-4
SAMPLE_SHARE = 1000  # effective events per toy event: two samples then differ little in the mean
ALLOWED_LOGIT = 1e-3  # of the spread of the logits, for rounding


@dataclass(frozen=True)
class Finding:
    """The answer to one question; ``passed`` is None where it does not arise."""

    name: str
    passed: bool | None
    told: str


def disjoint(identity: Integer[np.ndarray, " rows"], fold: Integer[np.ndarray, " rows"]) -> Finding:
    """Whether every event has all its entries in one fold, so that none is trained and tested on.

    Args:
        identity: of the event of each entry.
        fold: of each entry.
    """
    pairs = np.unique(np.stack([identity, fold.astype(identity.dtype)]), axis=1)
    events = len(np.unique(identity))
    leaked = pairs.shape[1] - events
    return Finding(
        "training and test events are disjoint",
        leaked == 0,
        f"{leaked} of {events} events have entries in several folds",
    )


def nothing_gained(score: Float[np.ndarray, " events"], events: Events) -> Finding:
    """Whether networks trained on shuffled labels know nothing about events they did not see.

    Args:
        score: of each event by a network that never saw it.
        events: with the shuffled labels.
    """
    auc = weighted_auc(score, events.signal, events.weight, events.event_id)
    return Finding(
        "shuffled labels gain nothing",
        abs(auc.value - 0.5) < ERRORS * auc.error,
        f"AUC {auc.value:.4f} ± {auc.error:.4f}",
    )


def linear(
    llr: Float[np.ndarray, " events"], events: Events, random: np.random.Generator
) -> Finding:
    """Whether the unbinned fit finds the signal that was put in, for several strengths.

    Pseudo-data are the held-out events with the signal scaled; their replicas give the errors.
    """
    identities, event = np.unique(events.event_id, return_inverse=True)
    repeats = random.poisson(1.0, (REPLICAS + 1, len(identities)))
    repeats[0] = 1
    weight = repeats[:, event] * events.weight
    signal, background = (np.where(k, weight, 0.0) for k in (events.signal, ~events.signal))
    expected = asimov(np.exp(llr - llr.max())[None], signal, background)
    found = [
        [_best_mu(expected, mu * signal + background, row) for row in range(REPLICAS + 1)]
        for mu in STRENGTHS
    ]
    slopes, offsets = np.polyfit(STRENGTHS, np.array(found), 1)
    slope, offset = slopes[0], offsets[0]
    errors = [float(np.std(x[1:], ddof=1)) for x in (slopes, offsets)]
    departures = (abs(slope - 1), abs(offset))
    return Finding(
        "injected signal is found",
        all(d < ALLOWED_MU + ERRORS * e for d, e in zip(departures, errors, strict=True)),
        f"µ found = ({slope:.3f} ± {errors[0]:.3f}) · µ + ({offset:.3f} ± {errors[1]:.3f}) for "
        f"µ = {', '.join(f'{mu:g}' for mu in STRENGTHS)}",
    )


def _best_mu(data: Data, number: Float[np.ndarray, "sets cells"], row: int) -> float:
    """Where the slope of -ln L is 0, the background being known; densities stay positive."""
    seen = number[row] != 0
    ratio = data.signal[row] / data.background[row] * data.ratio[row, seen]
    counts = number[row, seen]

    def slope(mu: float) -> float:
        return float(data.signal[row] - np.sum(counts * ratio / (mu * ratio + 1)))

    # the slope rises with µ, from -∞ where the first density vanishes
    return float(brentq(slope, -(1 - 1e-9) / ratio.max(), counts.sum() / data.signal[row]))


def uniform_without_signal(
    llr: Float[np.ndarray, " events"], events: Events, random: np.random.Generator
) -> Finding:
    """Whether background alone gives uniform p-values.

    Each fold is halved by a hash of the events: toys drawn from one half of the background are
    judged by the distribution of toys from the other, with the test statistic Σ ln(1 + S r/B).
    Both halves were scored by the same networks, so that they differ only if a network knew some
    events and not others.
    """
    yields = [events.weight[k].sum() for k in (events.signal, ~events.signal)]
    statistic = np.logaddexp(0, llr + np.log(yields[0] / yields[1]))
    half = splitmix64(events.event_id) >> np.uint64(40)  # not the bits of the folds
    halves = [~events.signal & (half % 2 == odd) & (events.weight > 0) for odd in (0, 1)]
    effective = min(events.weight[k].sum() ** 2 / np.square(events.weight[k]).sum() for k in halves)
    number = float(np.clip(effective / SAMPLE_SHARE, 5, max(yields[1], 5)))
    reference, toys = (
        _toys(statistic[k], events.weight[k], number, size, random)
        for k, size in zip(halves, (REFERENCES, TOYS), strict=True)
    )
    above = len(reference) - np.searchsorted(np.sort(reference), toys)
    p = (above + random.uniform(size=TOYS)) / (len(reference) + 1)
    distance = float(kstest(p, "uniform").statistic)
    # means of two finite samples differ by √(2/n) of a spread, by √(2 number/n) of that of a toy
    samples = norm.pdf(0) * np.sqrt(2 * number / effective)
    allowed = float(kstwo.isf(LEAST_P, TOYS) + ERRORS * samples)
    return Finding(
        "p-values without signal are uniform",
        distance < allowed,
        f"Kolmogorov-Smirnov distance {distance:.3f} of {TOYS} toys, {allowed:.3f} allowed",
    )


def _toys(
    statistic: Float[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
    number: float,
    size: int,
    random: np.random.Generator,
) -> Float[np.ndarray, " toys"]:
    """Sums of the statistic over Poisson many events each."""
    counts = random.poisson(number, size)
    drawn = random.choice(statistic, counts.sum(), p=weight / weight.sum())
    return np.bincount(np.repeat(np.arange(size), counts), drawn, size)


@torch.no_grad()
def symmetric(network: nn.Module, inputs: Sequence[Tensor], random: torch.Generator) -> Finding:
    """Whether a network on sets cares for the order of particles, or for the other jets.

    Args:
        network: in evaluation mode.
        inputs: features and momenta, one row per particle, and the number of particles per jet.
        random: permutes the particles of each jet.
    """
    *rows, counts = inputs
    logits = network(*rows, counts)
    jet = torch.repeat_interleave(torch.arange(len(counts)), counts)
    order = torch.argsort(jet + torch.rand(len(jet), generator=random))  # within each jet
    permuted = network(*(x[order] for x in rows), counts)
    ends = torch.cumsum(counts, 0)
    alone = [
        network(*(x[end - n : end] for x in rows), n[None])
        for end, n in zip(ends, counts, strict=True)
    ]
    spread = float(logits.std()) or 1.0
    changes = [
        float((other - logits).abs().max()) / spread for other in (permuted, torch.cat(alone))
    ]
    return Finding(
        "neither order nor padding of particles matters",
        max(changes) < ALLOWED_LOGIT,
        f"{len(counts)} jets: logits change by {changes[0]:.1e} of their spread if particles are "
        f"permuted, by {changes[1]:.1e} without the other jets and their padding",
    )


def within_limit(limit: Limit | None) -> Finding:
    """Whether a score claims no more significance than the exact ratio."""
    name = "no more significance than the exact ratio"
    if limit is None:
        return Finding(name, None, "no exact ratio is known here")
    ratio = limit.z_ratio
    return Finding(
        name,
        ratio.value <= 1 + BETTER_Z + ERRORS * ratio.error,
        f"Z / Z exact = {ratio.value:.4f} ± {ratio.error:.4f}",
    )
