import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from hepml.training.calibration import WIDTH, Line, fit_line

SHIFT = 1.5


def gaussians(rng, number):
    """Exact log-likelihood ratio of N(1.5, 1) against N(0, 1)."""
    signal = np.arange(2 * number) < number
    return SHIFT * rng.normal(SHIFT * signal, 1) - SHIFT**2 / 2, signal


def test_a_distorted_ratio_is_straightened():
    llr, signal = gaussians(np.random.default_rng(1), 50_000)
    line = fit_line((llr - 0.4) / 0.7, signal, np.ones(len(llr)))
    # errors of slope and offset with 50,000 events per class: 0.009 and 0.008
    assert line.slope == pytest.approx(0.7, abs=0.02)
    assert line.offset == pytest.approx(0.4, abs=0.03)


@pytest.mark.parametrize("width", [None, WIDTH])
def test_the_line_is_that_of_the_lowest_cross_entropy(width):
    """Against a general minimiser, with signed weights and a yield ratio of 30."""
    rng = np.random.default_rng(2)
    llr, signal = gaussians(rng, 300)
    x = 1.6 * llr + 0.5
    weight = np.where(rng.random(600) < 0.1, -1.0, 1.0) * np.where(signal, 1.0, 30.0)
    share = weight / np.where(signal, weight[signal].sum(), weight[~signal].sum()) / 2

    def loss(at):
        p = expit(at[0] * x + at[1])
        entropy = -(share * np.where(signal, np.log(p), np.log1p(-p))).sum()
        prior = 0 if width is None else np.square(share).sum() / width**2 / 2
        return entropy + prior * ((at[0] - 1) ** 2 + at[1] ** 2)

    best = minimize(loss, [1, 0], method="BFGS", options={"gtol": 1e-9}).x
    line = fit_line(x, signal, weight, width)
    assert (line.slope, line.offset) == pytest.approx(best, abs=1e-6)


def test_a_prior_matters_to_few_events_alone():
    for number, close in ((20, 0.5), (100_000, 0.02)):
        llr, signal = gaussians(np.random.default_rng(3), number)
        line = fit_line(llr / 2, signal, np.ones(2 * number), WIDTH)
        assert (abs(line.slope - 2) < 0.1) == (close < 0.1)
        assert abs(line.slope - 1) < 1.1


def test_classes_apart_have_no_line_without_a_prior():
    x, signal = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True])
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        fit_line(x, signal, np.ones(4))
    assert 1 < fit_line(x, signal, np.ones(4), WIDTH).slope < 1.2


def test_a_line_keeps_the_order():
    x = np.random.default_rng(4).normal(size=50)
    assert np.array_equal(np.argsort(Line(0.7, 3.0)(x)), np.argsort(x))
