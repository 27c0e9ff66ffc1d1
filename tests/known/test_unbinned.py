"""The unbinned fit of S = 50 N(1.5, 1) on B = 500 N(0, 1), whose answers are integrals."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from hepml.inference.binned import fit as binned_fit
from hepml.inference.model import simple_model
from hepml.inference.morphing import Morphing, rate_only
from hepml.inference.unbinned import (
    Data,
    Scan,
    UnbinnedLikelihood,
    asimov,
    background_normalisation,
    best_fit,
    discovery_significance,
    fit,
    sources_of,
)

S, B, SHIFT = 50.0, 500.0, 1.5


def ratio_of(x):
    return np.exp(SHIFT * x - SHIFT**2 / 2)


def known(data, uncertainty=0.0):
    """Data, and an uncertain normalisation of the background."""
    return data, background_normalisation(uncertainty, data.ratio.shape[1])


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
    sigma = fit(*known(expected, 0.0)).sigma_mu
    assert sigma == pytest.approx(information**-0.5, rel=1e-9)
    assert sigma == pytest.approx(0.2575373864, rel=1e-9)


def test_significance_interval_and_best_fit(expected):
    result = fit(*known(expected, 0.0))
    assert result.significance == pytest.approx(5.1539195447, rel=1e-9)
    assert result.mu == pytest.approx(1, abs=1e-9)
    assert result.interval == pytest.approx((0.753509, 1.268313), abs=1e-6)


@pytest.mark.parametrize(
    ("mu", "t"),
    [(0.5, 4.587798), (0.75, 1.030072), (1.25, 0.872716), (1.5, 3.261985), (2.0, 11.612613)],
)
def test_likelihood_ratio(expected, mu, t):
    assert Scan(*known(expected)).t(mu) == pytest.approx(t, abs=1e-6)


# σ(µ) with a Gaussian constraint on the background, κ = 1 + u α; code4 bends it in third order
@pytest.mark.parametrize(
    ("uncertainty", "sigma"), [(0.05, 0.270494), (0.1, 0.278220), (0.2, 0.281846)]
)
def test_an_uncertain_background_costs_precision(expected, uncertainty, sigma):
    assert fit(*known(expected, uncertainty)).sigma_mu == pytest.approx(sigma, rel=5e-4)


def test_the_normalisation_of_the_ratio_does_not_matter():
    x = np.linspace(-6, 8, 4001)
    signal, background = S * norm.pdf(x - SHIFT), B * norm.pdf(x)
    data = [asimov(f * ratio_of(x)[None], signal[None], background[None]) for f in (1, 9)]
    fits = [fit(*known(d, 0.1)) for d in data]
    assert fits[0].significance == pytest.approx(fits[1].significance, rel=1e-9)


def test_no_other_ratio_does_better_than_the_exact_one():
    """Neyman-Pearson, for a ratio that is normalised."""
    x = np.linspace(-9, 11, 20_001)
    signal, background = (n * norm.pdf(x - m) for n, m in ((S, SHIFT), (B, 0.0)))
    for distorted in (ratio_of(x) ** 1.2, ratio_of(x) ** 0.8, ratio_of(np.round(x, 0)), 0 * x + 1):
        data = asimov(distorted[None], signal[None], background[None])
        own = asimov(ratio_of(x)[None], signal[None], background[None])
        assert discovery_significance(*known(data))[0] < discovery_significance(*known(own))[0]


def test_unbinned_beats_bins_beat_counting(expected):
    sigmas = [fit(*known(expected, 0.0)).sigma_mu]
    for bins in (40, 5, 2):
        edges = np.linspace(-3, 4.5, bins + 1)
        edges[[0, -1]] = -np.inf, np.inf
        s, b = S * np.diff(norm.cdf(edges - SHIFT)), B * np.diff(norm.cdf(edges))
        sigmas.append(binned_fit(simple_model(s[None], b[None], 0 * b[None])).sigma_mu)
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
    found = best_fit(UnbinnedLikelihood(*known(data, uncertainty)))
    pull = (found.mu - 1) / found.sigma_mu
    # errors of the mean and the spread of 2000 toys: 0.0224 and 0.0158, three of them; the pull of
    # an asymmetric likelihood is shifted by a few per cent
    assert found.mu.mean() == pytest.approx(1, abs=3 * found.mu.std() / toys**0.5 + 0.01)
    assert found.mu.std() == pytest.approx(0.2575 if not uncertainty else 0.2782, rel=0.06)
    assert pull.std() == pytest.approx(1, abs=0.06)


def shifted(alpha):
    """Background density times rate with its mean moved by α/10, its yield by 5 % · α."""
    x = np.linspace(-9, 11, 20_001)
    return x, (1 + 0.05 * alpha) * np.exp(0.1 * alpha * x - 0.005 * alpha**2)


def test_a_shape_and_rate_is_interpolated_from_its_variations(expected):
    """Exact: Z = 3.7113. Interpolated between the ratios at α = ±1 and normalised: 3.7092."""
    x, up = shifted(1)
    ratios = np.stack([shifted(-1)[1] / 0.95, up / 1.05])[:, None, :, None]
    weight = norm.pdf(x)[None] / norm.pdf(x).sum()
    rates = np.array([[[0.95]], [[1.05]]])
    background = Morphing(rates, np.array([0]), x, ratios, x, weight)
    sources = sources_of(rate_only(np.ones((2, 1))), background, x)
    assert discovery_significance(expected, sources)[0] == pytest.approx(3.7092, abs=6e-5)
    assert Scan(expected, sources).t(0.5) == pytest.approx(2.6982, abs=6e-5)

    def exact(mu, alpha):  # -2 ln L, but for a constant
        density = mu * S / B * expected.ratio[0] + shifted(alpha)[1]
        events = mu * S + B * (1 + 0.05 * alpha)
        return 2 * (events - (expected.number[0] * np.log(density)).sum()) + alpha**2

    found = minimize_scalar(lambda alpha: exact(0.0, alpha), bounds=(0, 5), method="bounded")
    z = (found.fun - exact(1.0, 0.0)) ** 0.5
    assert z == pytest.approx(3.7113, abs=6e-5)


def test_gradient_and_hessian_with_shapes_are_differences(expected):
    x, up = shifted(1)
    ratios = np.stack([shifted(-1)[1] / 0.95, up / 1.05])[:, None, :, None]
    weight = norm.pdf(x)[None] / norm.pdf(x).sum()
    both = [
        Morphing(np.array([[[0.95, 0.9]], [[1.05, 1.2]]]), np.array([0]), x, f(ratios), x, weight)
        for f in (np.sqrt, np.asarray)
    ]
    likelihood = UnbinnedLikelihood(expected, sources_of(*both, x))
    at = np.array([[0.4, 1.3, -0.6]])
    gradient, hessian, _ = (values[0] for values in likelihood.derivatives(at))
    for i in range(3):
        step = np.eye(3)[i] * 1e-5
        difference = (likelihood.value(at + step) - likelihood.value(at - step))[0] / 4e-5
        assert gradient[i] == pytest.approx(difference, rel=1e-6)
        ends = [likelihood.derivatives(at + sign * step)[0][0] for sign in (1, -1)]
        np.testing.assert_allclose(hessian[i], (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-6)
