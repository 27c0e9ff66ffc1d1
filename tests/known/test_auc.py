"""The area under the ROC curve against its definition and exactly solvable toys."""

import numpy as np
import pytest
from scipy.stats import norm

from hepml.inference.metrics import roc_curve, weighted_auc


def brute_force(score, signal, weight):
    """Every signal event against every background event; ties count half."""
    s, b = score[signal][:, None], score[~signal][None, :]
    pairs = weight[signal][:, None] * weight[~signal][None, :]
    return np.sum(pairs * ((s > b) + 0.5 * (s == b))) / pairs.sum()


@pytest.mark.parametrize("lowest", [1.0, -0.5], ids=["positive", "negative weights"])
@pytest.mark.parametrize("levels", [7, 10**6], ids=["ties", "no ties"])
def test_every_pair(rng, lowest, levels):
    signal = rng.random(400) < 0.3
    score = np.floor(levels * (rng.random(400) + 0.2 * signal)) / levels
    weight = rng.uniform(lowest, 2, 400)
    auc = weighted_auc(score, signal, weight)
    assert auc.value == pytest.approx(brute_force(score, signal, weight), rel=1e-12)


def test_shifted_gaussians(rng):
    """Φ(D/√2) for N(D, 1) and N(0, 1)."""
    signal = np.arange(100_000) % 2 == 0
    score = rng.normal(1.5 * signal, 1)
    auc = weighted_auc(score, signal, np.ones(100_000))
    assert auc.value == pytest.approx(norm.cdf(1.5 / 2**0.5), abs=4 * auc.error)


def test_delong_error(rng):
    """For 4000 + 4000 events at D = 1.5 the true spread is 0.0041."""
    signal = np.arange(8000) % 2 == 0
    auc = weighted_auc(rng.normal(1.5 * signal, 1), signal, np.ones(8000))
    assert auc.error == pytest.approx(0.0041, abs=0.0002)


def test_area_of_the_roc_curve(rng):
    signal = rng.random(300) < 0.5
    score, weight = rng.integers(0, 20, 300) + 3.0 * signal, rng.uniform(-0.3, 1, 300)
    curve = roc_curve(score, signal, weight)
    area = np.trapezoid(curve.signal, curve.background)
    assert area == pytest.approx(weighted_auc(score, signal, weight).value, rel=1e-12)
