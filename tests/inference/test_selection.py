"""What is chosen for a fold never saw it, and what is quoted satisfies the constraint."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import norm

from hepml.config import Cut
from hepml.inference.binning import bin_score
from hepml.inference.counting import asimov_significance
from hepml.inference.goals import LargestSignificance
from hepml.inference.selection import scan_thresholds, select, signal_thresholds, significance_error

GOAL = LargestSignificance(background_uncertainty=0.1, minimum_background=10)
ABOVE = (Cut(variable="llr", keep="above"),)


@pytest.fixture
def toy(make_events, rng):
    events = make_events(4000, 4000)
    return events, rng.normal(1.5 * events.signal, 1)


def test_threshold_of_a_fold_does_not_see_it(toy, rng):
    events, score = toy
    before = select(ABOVE, score[None], events, GOAL).bounds
    changed = np.where(events.fold == 2, rng.permutation(score) + 3, score)
    after = select(ABOVE, changed[None], events, GOAL).bounds
    assert np.array_equal(before[2], after[2])
    assert not np.any(before[[0, 1, 3, 4], :, 0] == after[[0, 1, 3, 4], :, 0])


def test_edges_of_a_fold_do_not_see_it(toy, rng):
    events, score = toy
    before = signal_thresholds(score, events, np.array([0.2, 0.5]))
    changed = np.where(events.fold == 2, rng.permutation(score) + 3, score)
    after = signal_thresholds(changed, events, np.array([0.2, 0.5]))
    assert np.array_equal(before[2], after[2])
    assert not np.any(before[[0, 1, 3, 4]] == after[[0, 1, 3, 4]])


def test_other_folds_keep_the_yields(toy):
    events, _ = toy
    others = events.others(3)
    assert not np.any(others.fold == 3)
    assert others.weight[others.signal].sum() == pytest.approx(50)
    assert others.weight[~others.signal].sum() == pytest.approx(500)


def test_one_threshold_always_keeps_enough_background(make_events, rng):
    """So strong a signal that the constraint alone stops the threshold, at every seed."""
    for _ in range(10):
        events = make_events(300, 300)
        score = rng.normal(4 * events.signal, 1)
        selection = select(ABOVE, score[None], events, GOAL)
        assert selection.minimum_background == 10  # never had to be tightened
        assert np.count_nonzero(selection.passed & ~events.signal) >= 10


def test_optimism_is_gone(make_events, rng):
    """Quoted Z averages to the true Z of the thresholds; on the same events it would exceed it."""
    quoted, true = [], []
    for _ in range(20):
        events = make_events(500, 500, background_yield=500.0)
        score = rng.normal(1.5 * events.signal, 1)
        selection = select(ABOVE, score[None], events, GOAL)
        kept = selection.passed
        s, b = (events.weight[kept & c].sum() for c in (events.signal, ~events.signal))
        quoted.append(asimov_significance(*np.array([[s], [b], [0.1 * b]]))[0])
        ends = selection.bounds[:, 0, 0]
        s, b = 50 * norm.sf(ends - 1.5).mean(), 500 * norm.sf(ends).mean()
        true.append(asimov_significance(*np.array([[s], [b], [0.1 * b]]))[0])
    difference = np.subtract(quoted, true)
    # Z is convex in b: with b known to 20 % its mean is 2 % high; optimism would add 0.3
    assert abs(difference.mean()) < 3 * difference.std() / 20**0.5 + 0.08


def test_useless_score_gains_nothing(make_events, rng):
    """No cut has Z = 2.2002723 (s = 50, b = 500): a score blind to the label cannot beat it."""
    events = make_events(20_000, 20_000)
    goal = dataclasses.replace(GOAL, background_uncertainty=0.0)
    selection = select(ABOVE, rng.normal(size=(1, 40_000)), events, goal)
    s, b = (events.weight[selection.passed & c].sum() for c in (events.signal, ~events.signal))
    assert asimov_significance(*np.array([[s], [b]]))[0] < 2.2002723 + 0.03


def test_scan_follows_the_truth(make_events, rng):
    events = make_events(20_000, 20_000)
    score = rng.normal(1.5 * events.signal, 1)
    scan = scan_thresholds(score, events, np.array([0.3, 0.6, 0.9]), 0.1, 10)
    assert scan.signal_efficiency == pytest.approx([0.3, 0.6, 0.9], abs=0.01)
    threshold = 1.5 - norm.ppf([0.3, 0.6, 0.9])
    assert scan.threshold == pytest.approx(threshold, abs=0.04)
    s, b = 50 * norm.sf(threshold - 1.5), 500 * norm.sf(threshold)
    truth = asimov_significance(s, b, 0.1 * b)
    assert np.all(np.abs(scan.significance - truth) < 4 * scan.error)


def test_scan_leaves_out_what_is_empty(make_events):
    events = make_events(500, 100)
    scan = scan_thresholds(10.0 * events.signal, events, np.array([0.2, 0.9, 1.0]), 0.1, 10)
    assert scan.significance.size == 0


def test_significance_error_is_the_gradient():
    """dZ/ds = ln(1+s/b)/Z and dZ/db = [ln(1+s/b) - s/b]/Z for known background."""
    s, b, ss, bb = (np.array([x]) for x in (20.0, 50.0, 3.0, 7.0))
    z, log = asimov_significance(s, b), np.log1p(s / b)
    expected = np.sqrt(log**2 * ss + (log - s / b) ** 2 * bb) / z
    assert significance_error(s, b, ss, bb, 0.0) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("transform", [np.sinh, lambda x: np.exp(x / 3), lambda x: 5 * x - 2])
def test_monotone_transforms_change_nothing(toy, transform):
    events, score = toy
    plain, bent = (bin_score(x, events, 8, 10) for x in (score, transform(score)))
    assert np.array_equal(plain.bin_of_event, bent.bin_of_event)
    kept = [select(ABOVE, x[None], events, GOAL).passed for x in (score, transform(score))]
    assert np.array_equal(*kept)


def test_several_cuts_keep_enough_background_too(make_events, rng):
    """With two cuts the requirement outside the folds may have to be tightened."""
    cuts = (Cut(variable="x", keep="above"), Cut(variable="y", keep="above"))
    for _ in range(4):
        events = make_events(300, 300)
        variables = rng.normal(3 * events.signal, 1, (2, 600))
        selection = select(cuts, variables, events, GOAL)
        assert np.count_nonzero(selection.passed & ~events.signal) >= 10
