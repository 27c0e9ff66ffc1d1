"""Rejection, efficiency and the thinned curve."""

import numpy as np
import pytest
from scipy.stats import norm

from hepml.inference.metrics import efficiency, rejection_at, roc_curve, thinned, weighted_auc


def toy(rng, count, separation=1.5):
    signal = np.arange(count) % 2 == 0
    return rng.normal(separation * signal, 1), signal


def test_rejection_of_shifted_gaussians(rng):
    """ε_B = Φ(-(1.5 - Φ⁻¹(ε_S)))."""
    score, signal = toy(rng, 100_000)
    for at in (0.3, 0.5):
        found = rejection_at(score, signal, np.ones(100_000), at)
        true = 1 / norm.sf(1.5 - norm.ppf(at))
        assert found.value == pytest.approx(true, abs=4 * found.error)


@pytest.mark.parametrize("at", [0.3, 0.5])
def test_rejection_error_is_the_spread_of_independent_samples(rng, at):
    found = [rejection_at(*toy(rng, 2000), rng.exponential(1, 2000), at) for _ in range(300)]
    inverse = [1 / estimate.value for estimate in found]
    errors = [estimate.error / estimate.value**2 for estimate in found]
    assert np.mean(errors) == pytest.approx(np.std(inverse), rel=0.12)


def test_auc_error_is_the_spread_of_independent_samples(rng):
    found = [weighted_auc(*toy(rng, 600), rng.exponential(1, 600)) for _ in range(400)]
    spread = np.std([estimate.value for estimate in found])
    assert np.mean([estimate.error for estimate in found]) == pytest.approx(spread, rel=0.1)


def test_shuffled_labels_separate_nothing(rng):
    score, signal = toy(rng, 20_000)
    auc = weighted_auc(score, rng.permutation(signal), np.ones(20_000))
    assert auc.value == pytest.approx(0.5, abs=4 * auc.error)


def test_auc_sees_ranks_only(rng):
    score, signal = toy(rng, 500)
    weight = rng.exponential(1, 500)
    assert weighted_auc(score, signal, weight) == weighted_auc(np.sinh(score), signal, weight)


def test_perfect_separation_has_no_rejection():
    score, signal = np.arange(10.0), np.arange(10) > 4
    assert rejection_at(score, signal, np.ones(10), 0.5) is None


def test_binomial_error_of_equal_weights():
    passed = np.arange(50) < 10
    found = efficiency(passed, np.full(50, 0.3))
    assert found.value == pytest.approx(0.2)
    assert found.error == pytest.approx(np.sqrt(0.2 * 0.8 / 50))


def test_thinned_curve_keeps_its_ends(rng):
    score, signal = toy(rng, 5000)
    curve = thinned(roc_curve(score, signal, np.ones(5000)), 200)
    assert len(curve.signal) <= 200
    assert (curve.signal[0], curve.background[0]) == (0, 0)
    assert (curve.signal[-1], curve.background[-1]) == (1, pytest.approx(1, abs=0.2))


def test_two_entries_of_one_event_are_one(rng):
    """AUC, rejection and efficiency: the errors of jets that share an event do not shrink."""
    score, signal = toy(rng, 2000)
    event, weight = np.arange(2000), rng.exponential(1, 2000)
    once = score, signal, weight
    twice = tuple(np.concatenate([x, x]) for x in once)
    ids = np.concatenate([event, event])
    assert vars(weighted_auc(*twice, ids)) == pytest.approx(vars(weighted_auc(*once)))
    assert weighted_auc(*twice).error == pytest.approx(weighted_auc(*once).error / 2**0.5)
    both, one = rejection_at(*twice, 0.3, 1, ids), rejection_at(*once, 0.3)
    assert vars(both) == pytest.approx(vars(one), rel=1e-6)
    passed = twice[0] > 1
    assert efficiency(passed, twice[2], ids).error == pytest.approx(
        efficiency(passed[:2000], weight).error
    )


def test_rejection_needs_as_much_background_as_the_cuts():
    score, signal = np.arange(100.0), np.arange(100) % 2 == 0
    passed = int(np.count_nonzero(~signal[-30:]))
    assert rejection_at(score, signal, np.ones(100), 0.3, passed) is not None
    assert rejection_at(score, signal, np.ones(100), 0.3, passed + 1) is None
