import numpy as np
import pytest

from hepml.plots.means import weighted_mean

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(3, 2, (60, 2, 3)).astype(np.float32)
WEIGHT = RANDOM.normal(1, 0.8, 60)  # some are negative


def test_mean_and_error_worked_out_by_hand():
    # mean (1·2 + 3·6)/4 = 5; error √(1·3² + 9·1²)/4
    mean = weighted_mean([(np.array([2.0, 6.0]), np.array([1.0, 3.0]))])
    assert mean.value == pytest.approx(5)
    assert mean.error == pytest.approx(np.sqrt(18) / 4)


def test_equal_weights_give_the_standard_error():
    mean = weighted_mean([(X, np.full(60, 0.3))])
    np.testing.assert_allclose(mean.value, X.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(mean.error, X.std(axis=0) / np.sqrt(60), rtol=1e-5)


def test_batches_change_nothing_and_signs_of_weights_count():
    whole = weighted_mean([(X, WEIGHT)])
    parts = weighted_mean((X[i : i + 7], WEIGHT[i : i + 7]) for i in range(0, 60, 7))
    np.testing.assert_allclose(whole.value, np.average(X, axis=0, weights=WEIGHT), rtol=1e-5)
    np.testing.assert_allclose(parts.value, whole.value)
    np.testing.assert_allclose(parts.error, whole.error)
    assert whole.value.shape == (2, 3)


def test_weights_that_cancel_allow_no_mean():
    with pytest.raises(ValueError, match="sum up to 0"):
        weighted_mean([(np.ones(2), np.array([1.0, -1.0]))])
