"""Slices of equal signal efficiency, merged until they can be fitted."""

import numpy as np
import pytest
from scipy.stats import norm

from hepml.errors import InputError
from hepml.inference.binning import bin_score, merged_from_signal_end
from hepml.inference.events import Yields
from hepml.inference.likelihood import Counts, discovery_significance


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
        discovery_significance(Counts(s[None], b[None], 0 * s[None]), 0.0)[0]
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
    z = discovery_significance(Counts(y.signal[None], y.background[None], 0 * y.signal[None]), 0.0)
    assert z[0] == pytest.approx(2.2002723, abs=0.02)
