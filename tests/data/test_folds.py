import numpy as np
import pytest
from scipy.stats import chi2

from hepml.data.folds import assign_folds, event_ids, splitmix64


# first outputs of SplitMix64 for the seed 1234567 (published with the xoshiro generators)
def test_splitmix64_published_sequence():
    step = np.uint64(0x9E3779B97F4A7C15)
    states = np.uint64(1234567) + np.arange(3, dtype=np.uint64) * step
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert splitmix64(states).tolist() == expected


def test_a_single_whole_number_stays_recognisable():
    assert event_ids([np.array([5, 7, 2**31])]).tolist() == [5, 7, 2**31]


def test_identity_needs_every_branch():
    run, event = np.array([1, 1, 2, 2]), np.array([1, 2, 1, 2])
    assert len(set(event_ids([run, event]))) == 4


def test_order_of_branches_matters():
    assert event_ids([np.array([1]), np.array([2])]) != event_ids([np.array([2]), np.array([1])])


def test_zero_has_one_identity_and_precision_does_not_matter():
    assert event_ids([np.array([0.0])]) == event_ids([np.array([-0.0])])
    pt = np.array([1.1, 2.7], np.float32)
    assert np.array_equal(event_ids([pt]), event_ids([pt.astype(np.float64)]))


@pytest.mark.parametrize("folds", [3, 5])
@pytest.mark.parametrize("step", [1, 2, 5, 1000])
def test_folds_are_even_whatever_the_ids_look_like(folds, step):
    number = 30_000
    counts = np.bincount(assign_folds(np.arange(number, dtype=np.uint64) * np.uint64(step), folds))
    expected = number / folds
    statistic = np.sum((counts - expected) ** 2 / expected)
    assert statistic < chi2.isf(1e-6, folds - 1)


def test_a_fold_depends_on_the_event_alone():
    ids = np.arange(1000, dtype=np.uint64)
    shuffled = np.random.default_rng(1).permutation(1000)
    assert np.array_equal(assign_folds(ids[shuffled], 5), assign_folds(ids, 5)[shuffled])
