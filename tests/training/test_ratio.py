"""From logits to the likelihood ratio: N(1.5, 1) against N(0, 1), whose exact ratio is known."""

import numpy as np
import pytest
from scipy.special import expit

from hepml.training.calibration import IDENTITY, WIDTH, balanced
from hepml.training.ratio import HeldOut, calibrate

SHIFT = 1.5
CHI2 = np.exp(SHIFT**2) - 1  # Var_B[r] of the exact ratio


def exact(rng, number):
    """Log-likelihood ratio of so many events of each class."""
    signal = np.arange(2 * number) < number
    return SHIFT * rng.normal(SHIFT * signal, 1) - SHIFT**2 / 2, signal


def held_out(x, signal, weight=None, event_id=None):
    weight = np.ones(len(x)) if weight is None else weight
    return HeldOut(x, signal, weight, np.arange(len(x)) if event_id is None else event_id)


@pytest.mark.parametrize("map_", ["platt", "temperature"])
def test_a_known_distortion_is_mended_to_within_its_error(map_):
    llr, signal = exact(np.random.default_rng(1), 20_000)
    fitted = calibrate(held_out(1.2 * llr + 0.1, signal), map_)
    # the slope alone, which temperature fits first, makes up for a part of the missing offset
    slope_bias = 0.0 if map_ == "platt" else 0.01
    assert fitted.slope_error < 0.02
    assert fitted.offset_error < 0.02
    line = fitted.line
    assert abs(line.slope - 1 / 1.2) < 3 * fitted.slope_error + slope_bias
    assert abs(line.offset + 0.1 / 1.2) < 3 * fitted.offset_error
    assert abs(fitted.mean_ratio - 1) < 3 * fitted.mean_ratio_error
    assert fitted.warning is None


@pytest.mark.parametrize("map_", ["platt", "temperature"])
def test_errors_are_the_spread_of_independent_samples(map_):
    """With signed weights, and entries of one event in pairs."""
    rng = np.random.default_rng(2)
    fits = []
    for _ in range(100):
        llr, signal = exact(rng, 1000)
        weight = np.where(rng.random(2000) < 0.1, -1.0, 1.0) * np.where(signal, 1, 30)
        pairs = np.repeat(np.arange(2000), 2)
        fits.append(
            calibrate(held_out(*(v[pairs] for v in (1.2 * llr, signal, weight)), pairs), map_)
        )
    for name in ("slope", "offset"):
        errors = [getattr(fit, f"{name}_error") for fit in fits]
        spread = np.std([getattr(fit.line, name) for fit in fits], ddof=1)
        # the spread of 100 is known to 7 %
        assert np.mean(errors) == pytest.approx(spread, rel=0.2), name
    spread = np.std([fit.mean_ratio for fit in fits], ddof=1)
    assert 0 < spread < 0.2


def test_the_offset_normalises_the_bounded_ratio():
    """E_M[2r/(1 + r)] = 1 on the events of the fit, but for the pull of the prior."""
    llr, signal = exact(np.random.default_rng(3), 4000)
    x = 0.8 * llr + 0.3
    for map_ in ("platt", "temperature"):
        line = calibrate(held_out(x, signal), map_).line
        pull = line.offset / WIDTH**2 / 8000  # 8,000 events against a prior
        mean = balanced(np.ones(8000), signal) @ (2 * expit(line(x)))
        assert mean == pytest.approx(1 - 2 * pull, abs=1e-9)
        assert mean == pytest.approx(1, abs=5e-3)


def test_the_normalisation_is_better_known_than_that_by_the_mean_ratio():
    """Of ln c by both ways, from 1,000 events per class; Var_B[r] = e^2.25 - 1 = 8.5."""
    rng = np.random.default_rng(4)
    constants = []
    for _ in range(100):
        llr, signal = exact(rng, 1000)
        line = calibrate(held_out(llr, signal), "temperature").line
        constants.append([line.offset, -np.log(np.exp(llr[~signal]).mean())])
    bounded, mean_ratio = np.std(constants, axis=0)
    assert mean_ratio == pytest.approx((CHI2 / 1000) ** 0.5, rel=0.25)
    assert bounded < 0.6 * mean_ratio


def test_a_few_events_hardly_move_the_line():
    rng = np.random.default_rng(5)
    for _ in range(30):
        llr, signal = exact(rng, 5)
        line = calibrate(held_out(llr, signal), "platt").line
        # ten events against a prior of width 0.2: no further than two widths
        assert abs(line.slope - 1) < 0.4
        assert abs(line.offset) < 0.4


def test_negative_weights_of_a_few_events_give_a_line():
    rng = np.random.default_rng(6)
    for _ in range(50):
        llr, signal = exact(rng, 8)
        weight = np.where(np.arange(16) % 8 < 3, -1.0, 1.0)
        fitted = calibrate(held_out(llr, signal, weight), "platt")
        assert fitted.line.slope > 0
        assert np.isfinite([fitted.line.slope, fitted.line.offset]).all()


def test_no_calibration_leaves_the_logit():
    llr, signal = exact(np.random.default_rng(7), 500)
    fitted = calibrate(held_out(3 * llr, signal), "none")
    assert fitted.line == IDENTITY
    assert fitted.slope_error is None
    assert fitted.record().keys() >= {"map", "slope", "offset", "mean_ratio", "warning"}


def test_a_network_that_orders_events_wrongly_is_left_with_a_warning():
    llr, signal = exact(np.random.default_rng(8), 5000)
    fitted = calibrate(held_out(-llr, signal), "platt")
    assert fitted.line == IDENTITY
    assert fitted.map == "none"
    assert "the slope of the calibration is -" in fitted.warning
    assert "wrong order" in fitted.told()


def test_a_network_that_learned_nothing_is_left_alone():
    """Its logits tell nothing about the slope, and the prior keeps it."""
    rng = np.random.default_rng(9)
    for _ in range(20):
        x = rng.normal(0, 0.01, 4000)
        line = calibrate(held_out(x, np.arange(4000) < 2000), "platt").line
        assert line.slope == pytest.approx(1, abs=0.1)
        assert line.offset == pytest.approx(0, abs=0.05)
    assert calibrate(held_out(0 * x, np.arange(4000) < 2000), "platt").line == IDENTITY


def test_logits_that_are_not_finite_are_counted():
    llr, signal = exact(np.random.default_rng(10), 50)
    llr[[3, 80]] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of 100 logits are NaN or infinite"):
        calibrate(held_out(llr, signal), "platt")


def test_a_ratio_beyond_all_numbers_is_not_written():
    x = np.array([1000.0, 900.0, -5.0, 950.0, -900.0, -1000.0])
    signal = np.arange(6) < 3
    fitted = calibrate(held_out(x, signal), "none")
    assert fitted.mean_ratio is fitted.mean_ratio_error is None
    assert fitted.told() == "calibration: none"
