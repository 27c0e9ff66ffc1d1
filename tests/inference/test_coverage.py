"""Intervals hold the true µ as often as they claim, with every nuisance parameter profiled."""

import numpy as np
import pytest
from scipy.stats import norm

from hepml.inference.model import Model
from hepml.inference.toys.coverage import LEVELS, binned_coverage, coverage, unbinned_coverage


def gaussians(bins, error):
    """50 N(1.5, 1) on 500 N(0, 1), the latter known to 10 %, and its mean to 0.1."""
    edges = np.linspace(-3, 4.5, bins + 1)
    edges[[0, -1]] = -np.inf, np.inf
    s, b = 50 * np.diff(norm.cdf(edges - 1.5)), 500 * np.diff(norm.cdf(edges))
    factors, shifts = np.ones((2, 1, 2, 2)), np.zeros((2, 1, 2, 2, bins))
    factors[:, 0, 1, 0] = 0.9, 1.1
    for side, mean in enumerate((-0.1, 0.1)):
        shifts[side, 0, 1, 1] = 500 * np.diff(norm.cdf(edges - mean)) - b
    nominal = np.stack([s, b])[None]
    return Model(nominal, np.array([True, False]), np.full((1, bins), error), factors, shifts)


def test_shares_and_pulls_of_a_normal_estimator(rng):
    pull = rng.normal(size=4000)
    found = coverage(1.0, pull**2, pull)
    assert found.covered == pytest.approx(LEVELS, abs=0.022)
    assert found.pull_width == pytest.approx(1, abs=0.034)
    assert found.errors == pytest.approx((0.00736, 0.00345), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("mu", [0.5, 1.0])
@pytest.mark.parametrize("kind", ["binned", "unbinned"])
def test_intervals_cover(kind, mu):
    """2000 toys; within three binomial errors of nominal, pulls likewise but for their skewness."""
    if kind == "binned":
        found = binned_coverage(gaussians(10, 0.03), mu, 2000, 4)
    else:
        cells = gaussians(200, 0.0)
        found = unbinned_coverage(cells.nominal[0, 0] / cells.nominal[0, 1], cells, mu, 2000, 4)
    for share, level, error in zip(found.covered, LEVELS, found.errors, strict=True):
        assert share == pytest.approx(level, abs=3 * error)
    assert found.pull_mean == pytest.approx(0, abs=3 / 2000**0.5 + 0.1)
    assert found.pull_width == pytest.approx(1, abs=0.1)
