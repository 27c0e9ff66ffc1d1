"""The optimiser finds optima known analytically; what it finds is judged by the true yields."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from hepml.config import Cut
from hepml.errors import InputError
from hepml.inference.counting import asimov_significance
from hepml.inference.cuts import best_bounds, inside
from hepml.inference.goals import LargestSignificance, LeastBackground

GOAL = LargestSignificance(background_uncertainty=0.0, minimum_background=10)


def z(s, b):
    return float(asimov_significance(np.array(s), np.array(b)))


def share(bounds, mean=0.0, sigma=1.0):
    """Probability of a box under independent normal variables."""
    return np.prod(np.diff(norm.cdf((bounds - np.reshape(mean, (-1, 1))) / sigma), axis=1))


def test_best_cut_on_two_gaussians(make_events, rng):
    """S = 50 N(1.5, 1), B = 500 N(0, 1): Z = 3.94041 at x > 1.72, by quadrature."""
    events = make_events(100_000, 100_000)
    x = rng.normal(1.5 * events.signal, 1)[None]
    bounds = best_bounds((Cut(variable="x", keep="above"),), x, events, GOAL)
    true = z(50 * share(bounds, 1.5), 500 * share(bounds))
    assert 0.995 * 3.94041 < true < 3.940411  # 100k events place the threshold no better
    kept = inside(x, bounds)
    found = z(events.weight[kept & events.signal].sum(), events.weight[kept & ~events.signal].sum())
    order = np.argsort(-x[0])
    steps = [
        np.cumsum(np.where(c, events.weight, 0)[order])[1000:]
        for c in (events.signal, ~events.signal)
    ]
    assert found == pytest.approx(asimov_significance(*steps).max(), abs=0.02)  # every threshold


def test_below_mirrors_above(make_events, rng):
    events = make_events(5000, 5000)
    x = rng.normal(1.5 * events.signal, 1)[None]
    above = best_bounds((Cut(variable="x", keep="above"),), x, events, GOAL)
    below = best_bounds((Cut(variable="x", keep="below"),), -x, events, GOAL)
    kept = inside(x, above), inside(-x, below)
    assert np.count_nonzero(kept[0] != kept[1]) < 30  # ends open and closed, grid points apart


def test_best_window(make_events, rng):
    """S = N(0.7, 0.5), B uniform on [-5, 5]: a symmetric window, its width by minimisation."""
    events = make_events(40_000, 40_000)
    x = np.where(events.signal, rng.normal(0.7, 0.5, 80_000), rng.uniform(-5, 5, 80_000))
    best = -minimize(
        lambda c: -z(50 * (2 * norm.cdf(c[0]) - 1), 500 * c[0] / 10), [1.0], method="Nelder-Mead"
    ).fun
    ((low, high),) = best_bounds((Cut(variable="x", keep="window"),), x[None], events, GOAL)
    true = z(
        50 * float(np.diff(norm.cdf([(low - 0.7) / 0.5, (high - 0.7) / 0.5]))[0]), 50 * (high - low)
    )
    assert true == pytest.approx(best, rel=5e-3)


def test_two_cuts_that_only_work_together(make_events, rng):
    """Signal in a corner: the best rectangle is found by minimising over both ends."""
    events = make_events(40_000, 40_000)
    mean = np.array([[1.2], [1.6]])
    x = rng.normal(size=(2, 80_000)) + mean * events.signal
    cuts = (Cut(variable="x", keep="above"), Cut(variable="y", keep="above"))

    def true(ends):
        box = np.stack([ends, np.full(2, np.inf)], axis=1)
        return z(50 * share(box, mean), 500 * share(box))

    best = -minimize(lambda ends: -true(ends), [0.5, 0.5], method="Nelder-Mead").fun
    bounds = best_bounds(cuts, x, events, GOAL)
    assert best * 0.985 < true(bounds[:, 0]) <= best + 1e-9


def test_valley_between_two_optima(make_events, rng):
    """x and y separate only inside the corner square; from no cut at all neither helps alone."""
    events = make_events(20_000, 20_000)
    x = rng.uniform(0, 1, (2, 40_000))
    corner = events.signal & (np.arange(40_000) % 3 > 0)
    x[:, corner] = rng.uniform(0.9, 1, (2, np.count_nonzero(corner)))
    # background with the same marginals: where x is large y is small
    twisted = ~events.signal & (np.arange(40_000) % 3 > 0)
    x[0, twisted] = rng.uniform(0.9, 1, np.count_nonzero(twisted))
    x[1, twisted] = rng.uniform(0, 0.9, np.count_nonzero(twisted))
    cuts = (Cut(variable="x", keep="window"), Cut(variable="y", keep="above"))
    bounds = best_bounds(cuts, x, events, GOAL)
    # only y tells: y > 0.9 keeps 0.7 of the signal and 1/30 of the background
    assert bounds[1, 0] == pytest.approx(0.9, abs=0.02)


def test_three_cuts(make_events, rng):
    events = make_events(20_000, 20_000)
    mean = np.array([[1.0], [-0.8], [0.0]])
    width = np.array([[1.0], [1.0], [0.5]])
    x = rng.normal(size=(3, 40_000))
    x[:, events.signal] = x[:, events.signal] * width + mean
    kinds = ("above", "below", "window")
    cuts = tuple(Cut(variable=f"x{i}", keep=keep) for i, keep in enumerate(kinds))

    def true(bounds):
        return z(50 * share(bounds, mean, width), 500 * share(bounds))

    def box(p):
        return np.array([[p[0], np.inf], [-np.inf, p[1]], [-abs(p[2]), abs(p[2])]])

    best = -minimize(lambda p: -true(box(p)), [0.5, 0.0, 1.0], method="Nelder-Mead").fun
    assert true(best_bounds(cuts, x, events, GOAL)) > 0.98 * best


def test_least_background(make_events, rng):
    """At ε_S = 0.3 of N(1.5, 1): x > 2.0244, ε_B = 0.021463."""
    events = make_events(50_000, 50_000)
    x = rng.normal(1.5 * events.signal, 1)[None]
    goal = LeastBackground(signal=0.3 * 50, minimum_background=10)
    bounds = best_bounds((Cut(variable="x", keep="above"),), x, events, goal)
    kept = inside(x, bounds)
    assert 0.3 <= kept[events.signal].mean() < 0.306
    assert kept[~events.signal].mean() == pytest.approx(norm.sf(2.0244), rel=0.06)


def test_brute_force_on_a_small_sample(make_events, rng):
    """With a grid as fine as the sample, no window is better than the one found."""
    events = make_events(35, 35)
    x = rng.normal(0.8 * events.signal, 1)[None]
    bounds = best_bounds((Cut(variable="x", keep="window"),), x, events, GOAL)

    def merit(low, high):
        kept = inside(x, np.array([[low, high]]))
        s, b = events.weight[kept & events.signal].sum(), events.weight[kept & ~events.signal].sum()
        raw = np.count_nonzero(kept & ~events.signal)
        error = (b * 500 / 35) ** 0.5
        return asimov_significance(*np.array([[s], [b], [error]]))[0] if raw >= 10 and s > 0 else -1

    ends = np.sort(x[0])
    best = max(merit(*pair) for pair in itertools.combinations([*ends, np.inf], 2))
    assert merit(*bounds[0]) == pytest.approx(best, rel=0.02)


def test_constraint_that_cannot_be_met(make_events, rng):
    events = make_events(50, 9)
    x = rng.normal(size=(1, 59))
    with pytest.raises(InputError, match="no selection on x keeps signal and 10 raw background"):
        best_bounds((Cut(variable="x", keep="above"),), x, events, GOAL)
