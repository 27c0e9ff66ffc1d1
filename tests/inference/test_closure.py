"""Checks of a likelihood ratio that is known: N(1.5, 1) against N(0, 1)."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from hepml.inference.closure import check_closure, departures
from hepml.inference.events import Events

SHIFT = 1.5
KL = SHIFT**2 / 2  # both ways
CROSS_ENTROPY = 0.4719763493  # of balanced classes, by quadrature


def drawn(rng, number):
    signal = np.arange(2 * number) < number
    x = rng.normal(SHIFT * signal, 1)
    weight = np.where(signal, 0.3, 7.0)  # yields must not matter
    ids = np.arange(2 * number, dtype=np.uint64)
    return SHIFT * x - KL, Events(ids, np.arange(2 * number) % 4, signal, weight, 4)


def test_an_exact_ratio_passes_every_check(rng):
    llr, events = drawn(rng, 40_000)
    closure = check_closure(llr, llr, events)
    assert departures(closure) == []
    for found, exact in (
        (closure.slope, 1),
        (closure.offset, 0),
        (closure.mean_ratio, 1),
        (closure.mean_inverse, 1),
        (closure.mean_of_mixture, 1),
        (closure.kl_signal, KL),
        (closure.kl_background, KL),
        (closure.cross_entropy, CROSS_ENTROPY),
        *((slope, 1) for slope in closure.slope_of_folds),
    ):
        assert abs(found.value - exact) < 4 * found.error
        assert found.error < 0.06
    assert closure.over_training.value == 0


def test_errors_are_the_spread_of_independent_samples(rng):
    found = []
    for _ in range(120):
        llr, events = drawn(rng, 1500)
        found.append(check_closure(llr, llr, events))
    for name in ("slope", "offset", "mean_of_mixture", "kl_signal", "cross_entropy"):
        estimates = [getattr(closure, name) for closure in found]
        spread = np.std([estimate.value for estimate in estimates], ddof=1)
        # the spread of 120 is known to 6.5 %
        assert np.mean([e.error for e in estimates]) == pytest.approx(spread, rel=0.2), name


def test_the_reliability_diagram_lies_on_the_diagonal(rng):
    llr, events = drawn(rng, 40_000)
    diagram = check_closure(llr, llr, events).reliability
    assert len(diagram.score) == 12
    # the ends are wide, where the mean of the score is not that of the ratio
    pull = (np.array(diagram.observed) - diagram.score)[1:-1] / np.array(diagram.error)[1:-1]
    assert np.abs(pull).max() < 4


def test_a_constant_offset_is_seen_by_the_mean_of_the_mixture(rng):
    llr, events = drawn(rng, 40_000)
    shifted = check_closure(llr + 0.1, llr, events)

    def integrand(x):
        r = np.exp(SHIFT * x - KL + 0.1)
        return (norm.pdf(x) + norm.pdf(x - SHIFT)) * r / (1 + r)

    expected = quad(integrand, -10, 12)[0]
    found = shifted.mean_of_mixture
    assert abs(found.value - expected) < 4 * found.error
    assert shifted.offset.value == pytest.approx(-0.1, abs=4 * shifted.offset.error)


@pytest.mark.parametrize(
    ("slope", "offset", "said"),
    [(1.3, 0.0, "slope of the calibration is 0.7"), (1.0, 0.4, "offset of the calibration is -0.")],
)
def test_what_fails_is_said_with_its_error(rng, slope, offset, said):
    llr, events = drawn(rng, 40_000)
    messages = departures(check_closure(slope * llr + offset, llr, events))
    assert any(said in message and "±" in message for message in messages)


def test_over_training_is_the_gain_on_events_seen(rng):
    llr, events = drawn(rng, 5000)
    seen = llr + np.where(events.signal, 0.5, -0.5)
    gain = check_closure(llr, seen, events).over_training
    exact = norm.cdf((SHIFT**2 + 1) / (SHIFT * 2**0.5)) - norm.cdf(SHIFT / 2**0.5)
    assert gain.value == pytest.approx(exact, abs=3 * gain.error)


def test_entries_of_one_event_make_the_errors_larger(rng):
    llr, events = drawn(rng, 3000)
    twice = np.repeat(llr[::2], 2)
    pairs = Events(events.event_id // np.uint64(2), events.fold, events.signal, events.weight, 4)
    alone, together = (check_closure(twice, twice, e) for e in (events, pairs))
    for name in ("slope", "mean_of_mixture", "kl_background"):
        ratio = getattr(together, name).error / getattr(alone, name).error
        assert ratio == pytest.approx(2**0.5, rel=1e-6)
