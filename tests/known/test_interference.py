"""S = N(2, 1) and B = N(0, 1) with I = -2ρ√(SB): every answer is an integral or a toy."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from hepml.errors import InputError
from hepml.inference.interference.likelihood import InterferenceLikelihood, Terms
from hepml.inference.interference.neyman import LEVELS, Simulated, belt, interval, toy_t

RHO, SHIFT = 0.5, 2.0


def densities(x, n_signal, n_background):
    """Events per x of S, SBI and B."""
    s, b = n_signal * norm.pdf(x - SHIFT), n_background * norm.pdf(x)
    return s, s + b - 2 * RHO * np.sqrt(s * b), b


def yields(n_signal, n_background):
    """√(SB) integrates to √(nS nB) exp(-Δ²/8)."""
    overlap = np.sqrt(n_signal * n_background) * np.exp(-(SHIFT**2) / 8)
    total = n_signal + n_background - 2 * RHO * overlap
    return Terms(*(np.array([float(n)]) for n in (n_signal, total, n_background)))


def asimov(n_signal, n_background):
    x = np.linspace(-9, 11, 4001)
    s, total, b = densities(x, n_signal, n_background)
    reference = norm.pdf(x)
    events = Terms(s / reference, total / reference, b / reference)
    return InterferenceLikelihood(
        events, yields(n_signal, n_background), total * (x[1] - x[0]), 4.0
    )


def test_expected_number_of_events():
    """ν(1) = 454.9458081; its minimum at µ = 0.7664, where a count knows nothing of µ."""
    expected = yields(60, 500)
    assert expected.total[0] == pytest.approx(454.9458081, abs=1e-7)
    numbers = [expected.at(mu)[0] for mu in (0.75, 0.7664, 0.78)]
    assert min(numbers) == numbers[1]


def test_terms_add_up_to_signal_interference_and_background():
    x = np.linspace(-4, 6, 101)
    s, total, b = densities(x, 60, 500)
    for mu in (0.0, 0.3, 1.0, 2.5):
        interference = -2 * RHO * np.sqrt(s * b)
        whole = mu * s + np.sqrt(mu) * interference + b
        assert Terms(s, total, b).at(mu) == pytest.approx(whole, rel=1e-12)


# t(0) and interval by quadrature; Z = 2.647 of the weaker case
@pytest.mark.parametrize(
    ("n_signal", "n_background", "t0", "interval"),
    [(60, 500, 45.77204, (0.79685, 1.22333)), (10, 100, 7.0076627, (0.52157, 1.60571))],
)
def test_asimov_data(n_signal, n_background, t0, interval):
    likelihood = asimov(n_signal, n_background)
    assert likelihood.mu == pytest.approx(1, abs=1e-5)
    assert likelihood.t(0.0) == pytest.approx(t0, rel=2e-7)
    # the ends given are of a grid
    found = likelihood.intervals()
    assert np.array(found) == pytest.approx(np.array([interval]), abs=2e-4)
    for end, t in ((0.0, t0), *((end, 1.0) for end in found[0])):
        assert integrated_t(end, n_signal, n_background) == pytest.approx(t, abs=1e-5)


def integrated_t(mu, n_signal, n_background):
    """2 [∫ λ(1) ln(λ(1)/λ(µ)) - ν(1) + ν(µ)] by quadrature, from S, I and B."""

    def density(x, mu):
        s, b = n_signal * norm.pdf(x - SHIFT), n_background * norm.pdf(x)
        return mu * s - 2 * RHO * np.sqrt(mu * s * b) + b

    def integrand(x):
        return density(x, 1.0) * np.log(density(x, 1.0) / density(x, mu)) - (
            density(x, 1.0) - density(x, mu)
        )

    return 2 * quad(integrand, -9, 11, epsabs=1e-11, epsrel=1e-12, limit=200)[0]


@pytest.mark.parametrize(
    ("n_signal", "n_background", "sigma"), [(60, 500, 0.2133302), (10, 100, 0.5428934)]
)
def test_curvature_is_the_fisher_information(n_signal, n_background, sigma):
    likelihood = asimov(n_signal, n_background)
    step = 1e-3
    values = [likelihood.minus_two_ln_l(1 + k * step) for k in (-1, 0, 1)]
    curvature = (values[0] - 2 * values[1] + values[2]) / step**2 / 2
    assert curvature**-0.5 == pytest.approx(sigma, rel=1e-5)


def test_intervals_can_be_disjoint():
    """One event that likes µ = 0 and µ = 1 alike and hates what lies between: λ = µ - √µ + 0.3."""
    one = np.array([1.0])
    events = Terms(one, 0.3 * one, 0.3 * one)
    flat = Terms(0 * one, one, one)
    likelihood = InterferenceLikelihood(events, flat, 40 * one, 1.0)
    found = likelihood.intervals(1.0)
    assert len(found) == 2
    assert found[0][0] == 0
    assert found[1][1] == 1
    assert likelihood.t(found[0][1]) == pytest.approx(1, abs=1e-6)
    # t = -80 ln(λ/0.3) = 1 at √µ(1 - √µ) = 0.3 (1 - e^(-1/80))
    root = (1 - np.sqrt(1 - 1.2 * -np.expm1(-1 / 80))) / 2
    assert found[0][1] == pytest.approx(root**2, rel=1e-6)


def test_a_density_that_is_not_positive_is_named():
    """λ = µ - √µ + 0.2 is negative around µ = 1/4."""
    one = np.ones(3)
    events = Terms(one, np.array([0.2, 0.9, 0.9]), np.array([0.2, 0.9, 0.9]))
    with pytest.raises(InputError, match=r"1 of 3 events .* event 0 has -0.05 at µ = 0.25"):
        InterferenceLikelihood(events, events, one, 2.0)


def simulated(n_signal, n_background):
    x = np.linspace(-6, 8, 2801)
    reference = norm.pdf(x)
    terms = Terms(*(n / reference for n in densities(x, n_signal, n_background)))
    return Simulated(terms, reference * (x[1] - x[0]), yields(n_signal, n_background))


# coverage of t < 1 in 1000 (600) toys of an independent program, whose errors are added
@pytest.mark.parametrize(
    ("n_signal", "n_background", "mu", "coverage", "error"),
    [
        (60, 500, 0.0, 0.822, 0.012),
        (60, 500, 0.1, 0.666, 0.015),
        (60, 500, 1.0, 0.669, 0.015),
        (10, 100, 0.0, 0.795, 0.017),
        (10, 100, 0.3, 0.638, 0.020),
    ],
)
def test_coverage_of_wilks_and_of_neyman(n_signal, n_background, mu, coverage, error, rng):
    toys = 1500
    found = [toy_t(simulated(n_signal, n_background), mu, toys, 9.0, rng) for _ in range(2)]
    covered = np.mean(found[0] < 1)
    assert covered == pytest.approx(coverage, abs=3 * np.hypot(error, 0.5 / toys**0.5))
    for level, nominal in enumerate(LEVELS):
        critical = np.quantile(found[1], LEVELS[level])  # of other toys than those it is tried on
        within = 3 * np.sqrt(2 * nominal * (1 - nominal) / toys)
        assert np.mean(found[0] <= critical) == pytest.approx(nominal, abs=within)


def test_neyman_interval_of_asimov_data():
    """Far from µ = 0 the belt is at 1, and the interval that of t < 1: [0.79685, 1.22333]."""
    found = belt(simulated(60, 500), 4.0, 9, 800, 3)
    likelihood = asimov(60, 500)
    (low, high), *others = interval(likelihood, found, 0)
    assert not others
    assert (low, high) == pytest.approx((0.79685, 1.22333), abs=0.03)
    assert found.critical[0, 0] < 0.7  # 0.54 for the weaker case: Wilks over-covers at µ = 0
    wide = interval(likelihood, found, 1)
    assert wide[0][0] < low
    assert wide[-1][1] > high
