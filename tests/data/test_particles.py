import numpy as np
import pytest

from hepml.data.particles import order_by_pt


def order(pt, *counts):
    return order_by_pt(np.array(pt, np.float32), np.array(counts, np.int64))


def test_particles_are_ordered_within_each_event_by_falling_momentum():
    # events of 3, 0, 1 and 2 particles
    assert order([1, 3, 2, 9, 4, 5], 3, 0, 1, 2).tolist() == [1, 2, 0, 3, 5, 4]


def test_equal_momenta_keep_their_order():
    assert order([2, 1, 2, 0, 0], 5).tolist() == [0, 2, 1, 3, 4]


@pytest.mark.parametrize(
    ("pt", "counts"),
    [
        pytest.param([3, 2, 2, 9, 1], [3, 2], id="an event may begin harder than one ends"),
        pytest.param([3, 2, 9], [0, 2, 0, 0, 1, 0], id="events without particles"),
        pytest.param([], [0, 0], id="no particle"),
        pytest.param([], [], id="no event"),
        pytest.param([0, 0], [2], id="no momentum"),
    ],
)
def test_what_is_in_order_is_left_alone(pt, counts):
    assert order(pt, *counts) is None


def test_random_events_agree_with_sorting_one_by_one():
    random = np.random.default_rng(1)
    counts = random.integers(0, 6, 200)
    pt = random.integers(0, 4, counts.sum()).astype(np.float32)  # many are equal
    starts = np.cumsum(counts) - counts
    one_by_one = [
        s + np.argsort(-pt[s : s + n], kind="stable") for s, n in zip(starts, counts, strict=True)
    ]
    assert order_by_pt(pt, counts).tolist() == np.concatenate(one_by_one).tolist()
