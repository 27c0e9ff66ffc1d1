"""Bootstrap errors are the spread of independent samples, and replicas are paired."""

import numpy as np
import pytest

from hepml.inference.bootstrap import Replicas, draw_replicas, spread
from hepml.inference.counting import asimov_significance
from hepml.inference.events import Events
from hepml.inference.likelihood import Counts, discovery_significance

EDGES = np.array([0.5, 1.0, 1.5, 2.0])


def significances(replicas):
    """Counting beyond the last edge but one, and all bins together."""
    s, b = replicas.signal, replicas.background
    error = np.sqrt(replicas.background_variance) / b
    counted = s[:, 3:].sum(axis=1), b[:, 3:].sum(axis=1)
    return asimov_significance(*counted), discovery_significance(Counts(s, b, error), 0.1)


def sample(rng):
    """N(1.5, 1) on N(0, 1), Poisson numbers of events; weights of signal vary."""
    count = rng.poisson([800, 1200])
    signal = np.arange(count.sum()) < count[0]
    weight = np.where(signal, rng.exponential(50 / 800, count.sum()), 500 / 1200)
    x = rng.normal(1.5 * signal, 1)
    ids = np.arange(len(x), dtype=np.uint64)
    events = Events(ids, np.zeros(len(x), int), signal, weight, 1)
    return events, np.searchsorted(EDGES, x)


def test_error_is_the_spread_of_independent_samples(rng):
    drawn = [vars(draw_replicas(*sample(rng), 5, 0, 0)).values() for _ in range(250)]
    independent = Replicas(*(np.vstack(sums) for sums in zip(*drawn, strict=True)))
    truth = [np.std(values) for values in significances(independent)]
    errors = []
    for seed in range(10):
        z = significances(draw_replicas(*sample(rng), 5, 150, seed))
        errors.append([spread(values) for values in z])
    assert np.mean(errors, axis=0) == pytest.approx(truth, rel=0.15)


def test_replica_zero_is_the_sample(rng):
    events, cell = sample(rng)
    drawn = draw_replicas(events, cell, 5, 3, 1)
    first = events.signal & (cell == 0)
    assert drawn.signal[0, 0] == pytest.approx(events.weight[first].sum())
    assert drawn.signal_variance[0, 0] == pytest.approx((events.weight[first] ** 2).sum())
    assert drawn.background[0].sum() == pytest.approx(events.weight[~events.signal].sum())


def test_all_methods_see_the_same_replicas(rng):
    """Binned otherwise, the total of each replica is the same."""
    events, cell = sample(rng)
    totals = [
        draw_replicas(events, c, 5, 20, 7).background.sum(axis=1)
        for c in (cell, rng.permutation(cell))
    ]
    assert totals[0] == pytest.approx(totals[1], rel=1e-12)
    other_seed = draw_replicas(events, cell, 5, 20, 8).background.sum(axis=1)
    assert not np.any(other_seed[1:] == totals[0][1:])


def test_cells_add_up_to_groups(rng):
    events, cell = sample(rng)
    fine = draw_replicas(events, cell, 5, 4, 1)
    coarse = draw_replicas(events, cell // 2, 3, 4, 1)
    assert fine.summed(np.arange(5) // 2, 3).signal == pytest.approx(coarse.signal)


def test_empty_bins_of_a_replica_are_as_in_the_sample():
    drawn = Replicas(*(np.array([[4.0, 3], [5, 0], [-1, 2]]) for _ in range(4)))
    mended = drawn.without_empty_background()
    assert mended.background.tolist() == [[4, 3], [5, 3], [4, 2]]
