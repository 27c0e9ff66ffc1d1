"""The gate lets through what is the same up to rounding, and nothing else."""

import numpy as np
import pytest
from torch import nn

from hepml.export.events import VariableEvents
from hepml.export.parity import compare

ODDS = 0.5


def to_llr(logit):
    return logit - ODDS


class Sum(nn.Module):
    """x + y, with a step of height ``step`` at x = 1."""

    def __init__(self, step=0.0):
        super().__init__()
        self.step = step

    def forward(self, features):
        return features.sum(1) + self.step * (features[:, 0] >= 1)


def events(size=400):
    values = np.random.default_rng(1).normal(size=(size, 2)).astype(np.float32)
    values[17] = 0.2, 0.1  # below 1, where the tolerance is absolute
    return VariableEvents(values)


def graph_of(function):
    def run(feeds):
        logit = function(feeds["features"])
        return logit, logit - np.float32(ODDS)

    return run


def test_the_same_function_holds():
    found = compare(Sum(), graph_of(lambda x: x[:, 1] + x[:, 0]), to_llr, events())
    assert found.holds
    assert found.difference < 1e-6
    assert (found.events, found.rounded) == (400, 0)


@pytest.mark.parametrize("error", [3e-5, 0.1, np.nan, np.inf])
def test_one_wrong_event_is_found(error):
    def wrong(x):
        logit = x.sum(1)
        logit[17] += error
        return logit

    found = compare(Sum(), graph_of(wrong), to_llr, events())
    assert not found.holds
    if np.isfinite(error):
        assert found.difference == pytest.approx(error, rel=0.02)


def test_wrong_prior_odds_are_found():
    found = compare(Sum(), graph_of(lambda x: x.sum(1)), lambda x: x - 0.4, events())
    assert found.difference == pytest.approx(0.1, rel=1e-3)


def test_large_logits_are_compared_in_relative_terms():
    values = events().values * 1000
    found = compare(
        Sum(), graph_of(lambda x: x.sum(1) * (1 + 5e-6)), to_llr, VariableEvents(values)
    )
    assert found.holds
    assert found.difference == pytest.approx(5e-6, rel=0.2)


def test_an_event_on_a_step_is_decided_by_rounding_and_one_beside_it_is_not():
    given = events()
    given.values[:, 0] = np.where(np.abs(given.values[:, 0] - 1) < 0.01, 0.5, given.values[:, 0])
    step = graph_of(lambda x: x.sum(1) + 3 * (x[:, 0] > 1))  # differs at exactly 1
    assert compare(Sum(3.0), step, to_llr, given).rounded == 0
    given.values[5, 0] = 1
    found = compare(Sum(3.0), step, to_llr, given)
    assert found.holds
    assert found.rounded == 1
    late = graph_of(lambda x: x.sum(1) + 3 * (x[:, 0] > 1.001))
    given.values[5, 0] = 1.0005
    assert not compare(Sum(3.0), late, to_llr, given).holds


def test_rounding_is_no_excuse_for_many():
    given = events()
    given.values[:30, 0] = 1
    step = graph_of(lambda x: x.sum(1) + 3 * (x[:, 0] > 1))
    found = compare(Sum(3.0), step, to_llr, given)
    assert found.rounded == 30
    assert not found.holds
