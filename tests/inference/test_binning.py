"""Slices of equal signal efficiency, merged until they can be fitted."""

import numpy as np
import pytest
from scipy.stats import norm

from hepml.errors import InputError
from hepml.inference.binning import bin_score, merged_from_signal_end, numbers_of_slices
from hepml.inference.events import Yields
from hepml.inference.likelihood import discovery_significance
from hepml.inference.model import simple_model


def slices(background, raw, signal=None):
    b, raw = np.array(background, float), np.array(raw, float)
    s = np.ones_like(b) if signal is None else np.array(signal, float)
    return Yields(s, b, s * 0.01, b**2 / np.maximum(raw, 1), s * 100, raw)


def test_slices_hold_equal_signal(make_events, rng):
    events = make_events(30_000, 30_000)
    binning = bin_score(rng.normal(1.5 * events.signal, 1), events, 6, 10)
    assert binning.yields.signal == pytest.approx(np.full(6, 50 / 6), rel=0.01)
    assert np.all(np.diff(binning.yields.background) < 0)
    assert binning.edges.shape == (5, 7)


def test_binned_significance_of_the_exact_score(make_events, rng):
    """Ten slices of equal signal efficiency, yields by hand; below the unbinned optimum."""
    events = make_events(60_000, 60_000)
    binning = bin_score(rng.normal(1.5 * events.signal, 1), events, 10, 10)
    y = binning.yields
    edges = 1.5 + norm.ppf(np.linspace(0, 1, 11))
    z = [
        discovery_significance(simple_model(s[None], b[None], 0 * s[None]))[0]
        for s, b in ((y.signal, y.background), (np.full(10, 5.0), 500 * np.diff(norm.cdf(edges))))
    ]
    assert z[0] == pytest.approx(z[1], rel=0.03)
    assert z[1] < 5.1539195447


def test_merging_from_the_signal_end():
    """From the right: 4 + 9 raw are enough, 20 are, 30 are; 3 are left and join the last."""
    merged = merged_from_signal_end(slices([3, 30, 20, 9, 4], [3, 30, 20, 9, 4]), 10)
    assert merged.tolist() == [0, 2, 3]


def test_merging_needs_positive_background():
    """The negative slice needs both its neighbours."""
    merged = merged_from_signal_end(slices([50, 50, 2, -3], [500, 500, 500, 500]), 10)
    assert merged.tolist() == [0, 1]


def test_left_over_negative_slice_spoils_no_bin():
    merged = merged_from_signal_end(slices([-30, 20, 50], [500, 500, 500]), 10)
    assert merged.tolist() == [0]


def test_merging_needs_small_errors():
    """Ten events of equal weight are known to 32 %, twelve to 29 %."""
    assert merged_from_signal_end(slices([50, 10], [50, 10]), 10).tolist() == [0]
    assert merged_from_signal_end(slices([50, 12], [50, 12]), 10).tolist() == [0, 1]


def test_nothing_to_merge_into():
    with pytest.raises(InputError, match="do not make one bin with 10 raw background events"):
        merged_from_signal_end(slices([3, 2], [3, 2]), 10)


def test_equal_scores(make_events):
    """A score that says nothing at all: one bin."""
    events = make_events(500, 500)
    binning = bin_score(np.zeros(1000), events, 5, 10)
    assert len(binning.yields.signal) == 1


def test_shuffled_labels_gain_nothing(make_events, rng):
    """No cut at all has Z = 2.2002723 (s = 50, b = 500); bins of a blind score cannot beat it."""
    events = make_events(20_000, 20_000)
    y = bin_score(rng.normal(size=40_000), events, 10, 10).yields
    z = discovery_significance(simple_model(y.signal[None], y.background[None], 0 * y.signal[None]))
    assert z[0] == pytest.approx(2.2002723, abs=0.02)


def test_slices_are_halved():
    assert numbers_of_slices(32) == [2, 4, 8, 16, 32]
    assert numbers_of_slices(10) == [2, 5, 10]
    assert numbers_of_slices(2) == [2]


def test_as_many_slices_as_raise_the_significance(make_events, rng):
    """Of 2, 4, ... 64 equal slices, Z of the true yields rises by > 1 % up to some number."""
    edges = [1.5 + norm.ppf(np.linspace(0, 1, n + 1)) for n in numbers_of_slices(64)]
    z = []
    for e in edges:
        s, b = 50 * np.diff(norm.cdf(e - 1.5)), 500 * np.diff(norm.cdf(e))
        z.append(discovery_significance(simple_model(s[None], b[None], 0 * s[None]))[0])
    gains = np.diff(z) / z[:-1]
    assert gains[2] > 0.02  # 8 to 16
    assert gains[4] < 0.008  # 32 to 64
    events = make_events(60_000, 60_000)
    binning = bin_score(rng.normal(1.5 * events.signal, 1), events, 64, 10)
    assert binning.slices in (16, 32)
    y = binning.yields
    found = discovery_significance(
        simple_model(y.signal[None], y.background[None], 0 * y.signal[None])
    )
    # the few background events among the signal let Z fluctuate by 0.06
    assert found[0] == pytest.approx(z[numbers_of_slices(64).index(binning.slices)], abs=0.18)
    two = bin_score(rng.normal(size=120_000), events, 64, 10)
    assert two.slices == 2  # a blind score deserves no bins


def test_a_monotone_transform_of_the_score_changes_nothing(make_events, rng):
    events = make_events(20_000, 20_000)
    score = rng.normal(1.5 * events.signal, 1)
    plain, bent = (bin_score(x, events, 32, 10) for x in (score, np.exp(2 * score) - 3))
    assert plain.slices == bent.slices
    assert np.array_equal(plain.bin_of_event, bent.bin_of_event)
    assert bent.edges[:, 1:-1] == pytest.approx(np.exp(2 * plain.edges[:, 1:-1]) - 3)


def test_edges_of_a_fold_do_not_depend_on_its_events(make_events, rng):
    events = make_events(20_000, 20_000)
    score = rng.normal(1.5 * events.signal, 1)
    other = np.where(events.fold == 2, score + 0.3, score)
    before, after = (bin_score(x, events, 8, 10).edges for x in (score, other))
    assert np.array_equal(before[2], after[2])
    assert not np.array_equal(before[1], after[1])
