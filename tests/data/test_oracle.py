import numpy as np
import pytest
from scipy.stats import multivariate_normal

from hepml.data.oracle import DIMENSIONS, draw, exact_llr, optimum

TOYS = ["shift", "scale", "xor"]
EVENTS = 40_000


@pytest.fixture(params=TOYS, name="toy")
def _toy(request):
    return request.param


@pytest.fixture(name="llr")
def _llr(toy):
    """Exact LLR of signal and of background events."""
    random = np.random.default_rng(7)
    return tuple(exact_llr(toy, draw(toy, signal, EVENTS, random)) for signal in (True, False))


def mean_and_error(values):
    return values.mean(), values.std() / np.sqrt(len(values))


def auc_and_error(signal, background):
    """Probability that a signal event scores higher, and its error (DeLong et al. 1988)."""
    below = np.searchsorted(np.sort(background), signal) / len(background)
    above = 1 - np.searchsorted(np.sort(signal), background) / len(signal)
    return below.mean(), np.sqrt(below.var() / len(signal) + above.var() / len(background))


def density(toy, signal, x):
    """Densities written down from their definition, not from the LLR."""
    one = np.eye(DIMENSIONS)
    at = np.zeros(DIMENSIONS)
    if toy == "shift":
        return multivariate_normal(at + signal * 1.5 / np.sqrt(8), one).pdf(x)
    if toy == "scale":
        return multivariate_normal(at, one * (1.5 if signal else 1.0)).pdf(x)
    at[:2] = (1.2, 1.2) if signal else (1.2, -1.2)
    return (multivariate_normal(at, one).pdf(x) + multivariate_normal(-at, one).pdf(x)) / 2


def test_llr_is_the_log_of_the_ratio_of_densities(toy):
    x = np.random.default_rng(1).normal(0, 2, (13, DIMENSIONS))
    expected = np.log(density(toy, True, x) / density(toy, False, x))
    np.testing.assert_allclose(exact_llr(toy, x), expected, rtol=1e-9, atol=1e-12)


def test_llr_stays_finite_far_out(toy):
    assert np.isfinite(exact_llr(toy, np.full((3, DIMENSIONS), 1e4))).all()


def test_ratio_averages_to_one_over_the_mixture(llr):
    # E_{(S+B)/2}[2 p(S|x)] = 1; bounded, where the variance of E_B[r] is large
    probability = [2 / (1 + np.exp(-values)) for values in llr]
    means, errors = zip(*map(mean_and_error, probability), strict=True)
    assert np.mean(means) == pytest.approx(1, abs=4 * np.hypot(*errors) / 2)


def test_ratio_averages_to_one_over_background(llr):
    mean, error = mean_and_error(np.exp(llr[1]))
    assert mean == pytest.approx(1, abs=4 * error)


def test_auc_of_drawn_events_is_the_exact_one(toy, llr):
    auc, error = auc_and_error(*llr)
    assert auc == pytest.approx(optimum(toy).auc, abs=4 * error)


def test_divergences_of_drawn_events_are_the_exact_ones(toy, llr):
    for values, exact in ((llr[0], optimum(toy).kl_signal), (-llr[1], optimum(toy).kl_background)):
        mean, error = mean_and_error(values)
        assert mean == pytest.approx(exact, abs=4 * error)


def test_cross_entropy_of_drawn_events_is_the_exact_one(toy, llr):
    losses = [np.logaddexp(0, -llr[0]), np.logaddexp(0, llr[1])]
    means, errors = zip(*map(mean_and_error, losses), strict=True)
    assert np.mean(means) == pytest.approx(optimum(toy).bce, abs=4 * np.hypot(*errors) / 2)


# worked out independently: Φ(D/√2), F(8, 8) and an FFT convolution; quadrature for the rest
@pytest.mark.parametrize(
    ("toy", "auc", "kl_signal", "kl_background", "bce", "precision"),
    [
        ("shift", 0.8555778168, 1.125, 1.125, 0.4719763493, 1e-9),
        ("scale", 0.710208, 0.3781396, 0.2885271, 0.6184390884, 1e-6),
        ("xor", 0.8836121, 1.4631137, 1.4631137, 0.42770, 2e-3),
    ],
)
def test_known_optimum(toy, auc, kl_signal, kl_background, bce, precision):
    best = optimum(toy)
    assert best.auc == pytest.approx(auc, rel=1e-6)
    assert best.kl_signal == pytest.approx(kl_signal, rel=1e-6)
    assert best.kl_background == pytest.approx(kl_background, rel=1e-6)
    assert best.bce == pytest.approx(bce, rel=precision)


def test_no_single_variable_separates_xor():
    random = np.random.default_rng(3)
    signal, background = (draw("xor", s, EVENTS, random) for s in (True, False))
    for i in range(DIMENSIONS):
        auc, error = auc_and_error(signal[:, i], background[:, i])
        assert auc == pytest.approx(0.5, abs=4 * error)
