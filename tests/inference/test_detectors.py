"""Detectors of cheating: they are silent on honest toys, and fire when cheated."""

import numpy as np
import pytest
import torch
from torch import nn

from hepml.data.folds import splitmix64
from hepml.data.oracle import draw, exact_llr
from hepml.inference.detectors.questions import (
    disjoint,
    linear,
    nothing_gained,
    symmetric,
    uniform_without_signal,
    within_limit,
)
from hepml.inference.diagnostics.oracle import Limit
from hepml.inference.events import Events
from hepml.inference.metrics import Estimate


@pytest.fixture
def toy(rng):
    number = 6000
    signal = np.arange(2 * number) < number
    x = np.concatenate([draw("shift", True, number, rng), draw("shift", False, number, rng)])
    ids = np.arange(2 * number, dtype=np.uint64)
    weight = np.where(signal, 50 / number, 500 / number)
    return exact_llr("shift", x), Events(ids, rng.integers(0, 4, 2 * number), signal, weight, 4)


def test_an_event_in_two_folds_is_found(toy):
    _, events = toy
    assert disjoint(events.event_id, events.fold).passed
    leaked = events.event_id.copy()
    leaked[0] = leaked[np.flatnonzero(events.fold != events.fold[0])[0]]
    found = disjoint(leaked, events.fold)
    assert not found.passed
    assert found.told.startswith("1 of 11999 events")


def test_a_score_that_knows_shuffled_labels_is_found(toy, rng):
    _, events = toy
    noise = rng.normal(size=len(events.fold))
    assert nothing_gained(noise, events).passed
    assert not nothing_gained(noise + 0.2 * events.signal, events).passed


def test_a_score_that_is_no_ratio_is_not_linear(toy, rng):
    llr, events = toy
    assert linear(llr, events, rng).passed
    assert linear(llr + 0.7, events, rng).passed  # the fit normalises the ratio
    assert not linear(llr + 0.7 * events.signal, events, rng).passed
    assert not linear(2 * llr, events, rng).passed


def test_a_score_that_knows_some_of_the_background_is_not_uniform(toy, rng):
    llr, events = toy
    assert uniform_without_signal(llr, events, rng).passed
    # networks of different folds may differ: all folds are on both sides
    assert uniform_without_signal(llr * (1 + events.fold), events, rng).passed
    known = splitmix64(events.event_id) >> np.uint64(40) & np.uint64(1) == 1
    assert not uniform_without_signal(llr - 2.0 * known, events, rng).passed


class Sum(nn.Module):
    """Logit of packed particles: a sum, which may look at places or at the batch."""

    def __init__(self, position=0.0, batch=0.0):
        super().__init__()
        self.position, self.batch = position, batch

    def forward(self, features, momenta, counts):
        jet = torch.repeat_interleave(torch.arange(len(counts)), counts)
        place = torch.arange(len(jet)) - (torch.cumsum(counts, 0) - counts)[jet]
        values = features[:, 0] * (1 + self.position * place) + momenta[:, 0]
        total = torch.zeros(len(counts)).index_add(0, jet, values)
        return total + self.batch * counts.max()


def test_a_network_that_looks_at_places_or_other_jets_is_found():
    random = torch.Generator().manual_seed(3)
    counts = torch.tensor([5, 1, 9, 4, 7])
    rows = int(counts.sum())
    inputs = (
        torch.randn(rows, 3, generator=random),
        torch.randn(rows, 4, generator=random),
        counts,
    )
    assert symmetric(Sum(), inputs, random).passed
    assert not symmetric(Sum(position=0.1), inputs, random).passed
    assert not symmetric(Sum(batch=0.1), inputs, random).passed


def test_more_than_the_exact_ratio_is_found():
    best = Estimate(5.0, 0.1)
    assert within_limit(Limit("exact_llr", best, Estimate(0.99, 0.01))).passed
    assert not within_limit(Limit("exact_llr", best, Estimate(1.1, 0.01))).passed
    assert within_limit(None).passed is None
