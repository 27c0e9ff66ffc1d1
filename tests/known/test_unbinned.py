"""The unbinned fit of S = 50 N(1.5, 1) on B = 500 N(0, 1), whose answers are integrals."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from hepml.inference.binned import Histogram
from hepml.inference.binned import fit as binned_fit
from hepml.inference.unbinned import Data, Scan, asimov, best_fit, discovery_significance, fit

S, B, SHIFT = 50.0, 500.0, 1.5


def ratio_of(x):
    return np.exp(SHIFT * x - SHIFT**2 / 2)


@pytest.fixture(scope="module")
def expected():
    """Both densities on a grid so fine that sums are integrals: trapezoids of Gaussians."""
    x = np.linspace(-9, 11, 20_001)
    width = x[1] - x[0]
    signal, background = (n * norm.pdf(x - mean) * width for n, mean in ((S, SHIFT), (B, 0.0)))
    return asimov(ratio_of(x)[None], signal[None], background[None])


def test_the_sum_is_the_integral(expected):
    def integrand(x):
        s, b = S * norm.pdf(x - SHIFT), B * norm.pdf(x)
        return s**2 / (s + b)

    information, _ = quad(integrand, -9, 11, epsabs=1e-12)
    sigma = fit(expected, 0.0).sigma_mu
    assert sigma == pytest.approx(information**-0.5, rel=1e-9)
    assert sigma == pytest.approx(0.2575373864, rel=1e-9)


def test_significance_interval_and_best_fit(expected):
    result = fit(expected, 0.0)
    assert result.significance == pytest.approx(5.1539195447, rel=1e-9)
    assert result.mu == pytest.approx(1, abs=1e-9)
    assert result.interval == pytest.approx((0.753509, 1.268313), abs=1e-6)


@pytest.mark.parametrize(
    ("mu", "t"),
    [(0.5, 4.587798), (0.75, 1.030072), (1.25, 0.872716), (1.5, 3.261985), (2.0, 11.612613)],
)
def test_likelihood_ratio(expected, mu, t):
    assert Scan(expected, 0.0).t(mu) == pytest.approx(t, abs=1e-6)


# σ(µ) with a Gaussian constraint on the background, κ = 1 + u α; code4 bends it in third order
@pytest.mark.parametrize(
    ("uncertainty", "sigma"), [(0.05, 0.270494), (0.1, 0.278220), (0.2, 0.281846)]
)
def test_an_uncertain_background_costs_precision(expected, uncertainty, sigma):
    assert fit(expected, uncertainty).sigma_mu == pytest.approx(sigma, rel=5e-4)


def test_the_normalisation_of_the_ratio_does_not_matter():
    x = np.linspace(-6, 8, 4001)
    signal, background = S * norm.pdf(x - SHIFT), B * norm.pdf(x)
    fits = [fit(asimov(f * ratio_of(x)[None], signal[None], background[None]), 0.1) for f in (1, 9)]
    assert fits[0].significance == pytest.approx(fits[1].significance, rel=1e-9)


def test_no_other_ratio_does_better_than_the_exact_one():
    """Neyman-Pearson, for a ratio that is normalised."""
    x = np.linspace(-9, 11, 20_001)
    signal, background = (n * norm.pdf(x - m) for n, m in ((S, SHIFT), (B, 0.0)))
    for distorted in (ratio_of(x) ** 1.2, ratio_of(x) ** 0.8, ratio_of(np.round(x, 0)), 0 * x + 1):
        data = asimov(distorted[None], signal[None], background[None])
        own = asimov(ratio_of(x)[None], signal[None], background[None])
        assert discovery_significance(data, 0.0)[0] < discovery_significance(own, 0.0)[0]


def test_unbinned_beats_bins_beat_counting(expected):
    sigmas = [fit(expected, 0.0).sigma_mu]
    for bins in (40, 5, 2):
        edges = np.linspace(-3, 4.5, bins + 1)
        edges[[0, -1]] = -np.inf, np.inf
        s, b = S * np.diff(norm.cdf(edges - SHIFT)), B * np.diff(norm.cdf(edges))
        sigmas.append(binned_fit(Histogram(s, 0 * s, b, 0 * b), 0.0).sigma_mu)
    sigmas.append(np.sqrt(S + B) / S)
    assert sigmas == sorted(sigmas)
    assert sigmas[1] == pytest.approx(0.25780, abs=6e-6)
    assert sigmas[-1] == pytest.approx(0.4690416, abs=1e-7)


@pytest.mark.parametrize("uncertainty", [0.0, 0.1])
def test_toys_have_the_right_mean_spread_and_coverage(uncertainty):
    """2000 data sets; α is drawn, and the constraint centred at it, as a measurement would be."""
    rng = np.random.default_rng(4)
    toys, largest = 2000, 800
    number = np.zeros((toys, largest))
    ratio = np.ones((toys, largest))
    for toy in range(toys):
        scale = 1 + uncertainty * rng.normal()
        x = np.concatenate(
            [rng.normal(SHIFT, 1, rng.poisson(S)), rng.normal(0, 1, rng.poisson(B * scale))]
        )
        number[toy, : len(x)] = 1
        ratio[toy, : len(x)] = ratio_of(x)
    data = Data(ratio, number, np.full(toys, S), np.full(toys, B))
    found = best_fit(data, uncertainty)
    pull = (found.mu - 1) / found.sigma_mu
    # errors of the mean and the spread of 2000 toys: 0.0224 and 0.0158, three of them; the pull of
    # an asymmetric likelihood is shifted by a few per cent
    assert found.mu.mean() == pytest.approx(1, abs=3 * found.mu.std() / toys**0.5 + 0.01)
    assert found.mu.std() == pytest.approx(0.2575 if not uncertainty else 0.2782, rel=0.06)
    assert pull.std() == pytest.approx(1, abs=0.06)
