import numpy as np
import pytest

from hepml.plots.histograms import (
    Histogram,
    common_edges,
    ks_distance,
    ratio,
    unit_area,
    visible_range,
    weighted_histogram,
)


def test_bins_hold_sums_of_weights_and_errors_are_root_of_sum_of_squares():
    x = np.array([0.1, 0.2, 1.5, 1.6, 1.7])
    weight = np.array([3.0, 4.0, 2.0, -1.0, 2.0])
    histogram = weighted_histogram(x, weight, np.array([0.0, 1.0, 2.0]))
    np.testing.assert_allclose(histogram.values, [7.0, 3.0])
    np.testing.assert_allclose(histogram.errors, [5.0, 3.0])  # √(9+16), √(4+1+4)


def test_events_beyond_the_edges_count_in_the_outermost_bins():
    histogram = weighted_histogram(
        np.array([-9.0, 0.5, 2.0, 7.0]), np.ones(4), np.array([0.0, 1.0, 2.0])
    )
    np.testing.assert_allclose(histogram.values, [2.0, 2.0])


def test_normalised_histogram_has_area_one_and_keeps_relative_errors():
    edges = np.array([0.0, 1.0, 3.0, 7.0])
    before = Histogram(edges, np.array([2.0, 6.0, -1.0]), np.array([1.0, 2.0, 0.5]))
    density = unit_area(before)
    assert np.sum(density.values * np.diff(edges)) == pytest.approx(1)
    np.testing.assert_allclose(density.errors / density.values, before.errors / before.values)


def test_weights_that_cancel_cannot_be_normalised():
    nothing = Histogram(np.array([0.0, 1.0, 2.0]), np.array([1.0, -1.0]), np.ones(2))
    with pytest.raises(ValueError, match="sum of weights must be positive"):
        unit_area(nothing)


def test_errors_of_a_ratio_add_in_quadrature_and_empty_bins_have_none():
    edges = np.array([0.0, 1.0, 2.0, 3.0])
    above = Histogram(edges, np.array([10.0, 4.0, 0.0]), np.array([0.3, 1.0, 1.0]))
    below = Histogram(edges, np.array([5.0, 0.0, 2.0]), np.array([0.2, 0.0, 1.0]))
    quotient = ratio(above, below)
    np.testing.assert_allclose(quotient.values, [2.0, np.nan, np.nan])
    np.testing.assert_allclose(quotient.errors, [2 * 0.05, np.nan, np.nan])  # 3 % ⊕ 4 %


def test_ks_distance_of_four_events_by_hand():
    # cumulative weights of x at 1, 2, 3, 4: 1/4 each; y is x with the event at 4 moved to 0
    x, y = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 2.0, 3.0, 0.0])
    assert ks_distance(x, y, np.ones(4)) == pytest.approx(1 / 4)
    assert ks_distance(x, y, np.array([1.0, 1.0, 1.0, 5.0])) == pytest.approx(5 / 8)


def test_ks_distance_of_the_same_numbers_in_another_order_is_zero():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 5, 50).astype(float)
    assert ks_distance(x, rng.permutation(x), np.ones(50)) == pytest.approx(0, abs=1e-12)


def test_ks_distance_agrees_with_scipy():
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(1)
    x, y = rng.normal(0, 1, 400), rng.normal(0.3, 1, 400)
    assert ks_distance(x, y, np.ones(400)) == pytest.approx(ks_2samp(x, y).statistic)


def test_whole_numbers_get_a_bin_each_centred_on_the_number():
    edges = common_edges((np.array([1.0, 2.0, 5.0]), np.array([3.0, 3.0])), 0.0)
    np.testing.assert_allclose(edges, [0.5, 1.5, 2.5, 3.5, 4.5, 5.5])


def test_many_whole_numbers_share_bins_evenly():
    numbers = np.arange(100.0)  # ten bins at least: ⌈100 / 10⌉ numbers each
    edges = common_edges((numbers, numbers[:50]), 0.0)
    np.testing.assert_allclose(edges, np.arange(11) * 10 - 0.5)


def test_a_constant_variable_still_gets_bins():
    edges = common_edges((np.full(5, 0.3), np.full(7, 0.3)), 0.002)
    np.testing.assert_allclose(edges, np.linspace(-0.2, 0.8, 11))


def test_edges_span_both_classes_but_for_the_tails():
    low, high = np.linspace(0, 1, 1001), np.linspace(5, 10, 1001)
    edges = common_edges((low, high), 0.01)
    assert len(edges) == 21  # 2 · 1001^(1/3) bins
    np.testing.assert_allclose(edges[[0, -1]], [0.01, 9.95])


def test_visible_range_ignores_what_a_logarithmic_axis_cannot_show():
    assert visible_range(np.array([0.0, -3.0, np.nan, np.inf, 2.0, 7.0])) == (2.0, 7.0)
    assert visible_range(np.array([0.0])) == (0.1, 1.0)
