"""Bootstrap errors are the spread of independent samples, and replicas are paired."""

import numpy as np
import pytest
from scipy.stats import poisson

from hepml.data.folds import splitmix64
from hepml.inference.bootstrap import Replicas, draw_replicas, repeats, spread
from hepml.inference.counting import asimov_significance
from hepml.inference.events import Events, yields_in_cells, yields_of_events
from hepml.inference.likelihood import discovery_significance
from hepml.inference.model import simple_model

EDGES = np.array([0.5, 1.0, 1.5, 2.0])


def significances(replicas):
    """Counting beyond the last edge but one, and all bins together."""
    s, b = replicas.signal, replicas.background
    error = np.sqrt(replicas.background_variance) / b
    counted = s[:, 3:].sum(axis=1), b[:, 3:].sum(axis=1)
    return asimov_significance(*counted), discovery_significance(simple_model(s, b, error, 0.1))


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
    drawn = [vars(draw_replicas(*sample(rng), 5, 0, 0)).values() for _ in range(1000)]
    independent = Replicas(*(np.vstack(sums) for sums in zip(*drawn, strict=True)))
    truth = [np.std(values) for values in significances(independent)]
    errors = []
    for seed in range(20):
        z = significances(draw_replicas(*sample(rng), 5, 150, seed))
        errors.append([spread(values) for values in z])
    assert np.mean(errors, axis=0) == pytest.approx(truth, rel=0.1)


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


def test_repeats_are_poisson_and_depend_on_the_event_alone():
    ids = np.arange(100_000, dtype=np.uint64)
    one, k, other = repeats(ids, 2, 3)
    assert (one == 1).all()
    # standard errors of mean, variance and correlation are 0.003, 0.005 and 0.003
    assert k.mean() == pytest.approx(1, abs=0.015)
    assert k.var() == pytest.approx(1, abs=0.025)
    assert abs(np.corrcoef(k, other)[0, 1]) < 0.015
    some = np.random.default_rng(1).permutation(ids)[:500]
    assert (list(repeats(some, 2, 3))[2] == other[some.astype(int)]).all()
    assert (list(repeats(ids, 1, 4))[1] != k).any()


def twice(events, cell):
    """Every event as two entries of half the weight, shuffled."""
    order = np.random.default_rng(3).permutation(2 * len(cell))
    columns = (events.event_id, events.fold, events.signal, events.weight / 2, cell)
    *doubled, cells = (np.tile(x, 2)[order] for x in columns)
    return Events(*doubled, events.folds), cells


def test_entries_of_one_event_are_repeated_together(rng):
    """Two entries with one identity are one event: nothing may change, error bars included."""
    events, cell = sample(rng)
    once = draw_replicas(events, cell, 5, 50, 4)
    both = draw_replicas(*twice(events, cell), 5, 50, 4)
    for name, sums in vars(once).items():
        assert vars(both)[name] == pytest.approx(sums, rel=1e-12)
    strangers, cells = twice(events, cell)
    ids = np.arange(len(cells), dtype=np.uint64)
    strangers = Events(ids, strangers.fold, strangers.signal, strangers.weight, 1)
    apart = significances(draw_replicas(strangers, cells, 5, 300, 4))
    together = significances(draw_replicas(events, cell, 5, 300, 4))
    assert spread(together[0]) / spread(apart[0]) == pytest.approx(2**0.5, rel=0.15)


def test_yields_of_jets_of_one_event(rng):
    events, cell = sample(rng)
    once = yields_in_cells(events, cell, 5)
    both = yields_of_events(*twice(events, cell), 5)
    assert both.signal == pytest.approx(once.signal)
    assert both.signal_variance == pytest.approx(once.signal_variance)
    assert both.background_variance == pytest.approx(once.background_variance)
    assert both.raw_background == pytest.approx(2 * once.raw_background)


def test_repeats_are_quantiles_of_the_poisson_distribution(rng):
    """k of each event is the quantile of its uniform number, whichever of its bits decide."""
    identity = rng.integers(0, 2**63, 200_000).astype(np.uint64)
    (_, drawn) = repeats(identity, 1, 5)
    key = np.random.SeedSequence((5, 0)).generate_state(1, np.uint64)
    uniform = (splitmix64(identity ^ key) >> np.uint64(11)) * 2.0**-53
    np.testing.assert_array_equal(drawn, poisson.ppf(uniform, 1))
