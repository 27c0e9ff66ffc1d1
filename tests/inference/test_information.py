"""Curves of -2Δln L of the two-Gaussian toy, whose answers are integrals and closed forms."""

from types import SimpleNamespace

import numpy as np
import pyhf
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from hepml.inference.information import likelihood_curves
from hepml.inference.morphing import Morphing
from hepml.inference.sources import BACKGROUND
from hepml.inference.templates import Effect, Template, Templates, split
from hepml.inference.unbinned import asimov, background_normalisation, sources_of
from hepml.inference.workspace import numpy_and_minuit, read_model, workspace

S, B, SHIFT = 50.0, 500.0, 1.5
CUT = 1.31  # of the largest significance by counting
X = np.linspace(-9, 11, 2_001)
EDGES = np.concatenate([[-np.inf], np.linspace(-2.625, 4.125, 19), [np.inf]])

# rate and mean of signal and of background at α = -1, 0 and 1
STILL = ((S, SHIFT), (S, SHIFT), (S, SHIFT)), ((B, 0.0), (B, 0.0), (B, 0.0))
SCALE = (
    ((0.98 * S, SHIFT - 0.04), (S, SHIFT), (1.03 * S, SHIFT + 0.05)),
    ((0.95 * B, -0.08), (B, 0.0), (1.04 * B, 0.1)),
)


def exact():
    """Both densities on a fine grid, and the unbinned fit's data."""
    width = X[1] - X[0]
    s, b = (n * norm.pdf(X - mean) * width for n, mean in ((S, SHIFT), (B, 0.0)))
    return s, b, asimov(np.exp(SHIFT * X - SHIFT**2 / 2)[None], s[None], b[None])


def varied_densities(kind):
    """Factor on the rate, and density over the nominal one, at α = -1 and 1, on the grid."""
    (n, mean), *sides = kind[1], kind[0], kind[2]
    factors = np.array([rate / n for rate, _ in sides])
    ratios = np.stack([norm.pdf(X - moved) / norm.pdf(X - mean) for _, moved in sides])
    return factors, ratios


def shape_of(uncertainty, systematic):
    """Data of the unbinned fit, and its sources: the normalisation, then the systematic."""
    s, b, data = exact()
    if systematic is STILL:
        return data, background_normalisation(uncertainty, len(X))
    both = []
    for of_background, kind, contents in ((0, systematic[0], s), (1, systematic[1], b)):
        factors, ratios = varied_densities(kind)
        change = of_background * uncertainty * np.array([-1, 1])
        rates = [1 + change, factors] if uncertainty else [factors]
        place = np.array([len(rates) - 1])
        weight = contents[None] / contents.sum()
        rates = np.stack(rates, axis=1)[:, None]
        both.append(Morphing(rates, place, X, ratios[:, None, :, None], X, weight))
    return data, sources_of(*both, X)


def templates_of(edges, uncertainty, systematic):
    """Bins between edges; the statistical errors, 10 %, are in no curve."""
    processes = []
    for is_signal, kind in zip((True, False), systematic, strict=True):
        low, nominal, high = (n * np.diff(norm.cdf(edges - mean)) for n, mean in kind)
        effects = {}
        if uncertainty and not is_signal:
            effects[BACKGROUND] = Effect((1 - uncertainty, 1 + uncertainty), None)
        if systematic is not STILL:
            factors, shifts = split(np.stack([low, high]), nominal)
            effects["scale"] = Effect(tuple(factors.tolist()), shifts)
        name = "signal" if is_signal else "background"
        processes.append(Template(name, is_signal, nominal, 0.1 * nominal, effects))
    names = (BACKGROUND,) * (uncertainty > 0) + ("scale",) * (systematic is not STILL)
    return Templates(tuple(processes), names)


def toy(uncertainty, systematic=STILL):
    """Everything the curves are made of, and the curves by their names."""
    fitted = templates_of(EDGES, uncertainty, systematic)
    counted = templates_of(np.array([CUT, np.inf]), uncertainty, systematic)
    shape = shape_of(uncertainty, systematic)
    found = likelihood_curves(fitted, counted, shape, fitted.sources)
    curves = {curve.estimator: curve for curve in found}
    everything = templates_of(EDGES[[0, -1]], uncertainty, systematic)
    histograms = {"binned": fitted, "counting": counted, "all events": everything}
    return SimpleNamespace(shape=shape, histograms=histograms, curves=curves)


def test_sigmas_are_the_known_ones():
    """Quadrature, 20 bins, best cut at x > 1.31, and √(S+B)/S."""
    known = {"unbinned": 0.2575374, "binned": 0.25860, "counting": 0.30368, "all events": 0.4690416}
    found = {name: curve.sigma for name, curve in toy(0.0).curves.items()}
    assert found == pytest.approx(known, abs=6e-6)
    assert list(found) == list(known)


@pytest.mark.parametrize("uncertainty", [0.0, 0.1])
def test_who_knows_less_is_less_sure(uncertainty):
    found = toy(uncertainty).curves
    sigmas = [curve.sigma for curve in found.values()]
    assert sigmas == sorted(sigmas)
    at_two = [np.interp(1.5, curve.mu, curve.t) for curve in found.values()]
    assert at_two == sorted(at_two, reverse=True)


def test_curves_are_the_likelihood_ratio():
    """Asimov t of the unbinned fit at µ = 1.5; for a count t(0) is Z² of Eq. (97)."""
    found = toy(0.0).curves
    unbinned = found["unbinned"]
    assert np.interp(1.5, unbinned.mu, unbinned.t) == pytest.approx(3.261985, abs=0.02)
    everything = found["all events"]
    assert everything.mu[0] == 0
    assert everything.t[0] ** 0.5 == pytest.approx(2.2002723, abs=1e-6)


@pytest.mark.parametrize("uncertainty", [0.0, 0.1])
def test_systematics_cost_every_estimator(uncertainty):
    """What is left without them is what there is where there are none."""
    known, varied = toy(uncertainty).curves, toy(uncertainty, SCALE).curves
    for name, curve in varied.items():
        assert curve.sigma > 1.005 * curve.sigma_normalisation_only
        assert curve.sigma_normalisation_only == pytest.approx(known[name].sigma, rel=1e-9)
        assert known[name].sigma_normalisation_only == known[name].sigma
        t = np.interp(known[name].mu, curve.mu, curve.t)  # which reaches further
        assert t[-1] < 0.98 * known[name].t[-1]


@pytest.mark.parametrize("name", ["binned", "counting", "all events"])
def test_curves_of_counts_are_pyhfs(name):
    """Of a workspace without ``staterror``."""
    made = toy(0.1, SCALE)
    content = without_statistics(workspace(made.histograms[name], "sr"))
    curve = made.curves[name]
    chosen = [0, 9, 20, 32]
    theirs = profile_by_pyhf(content, [curve.mu[i] for i in chosen])
    assert [curve.t[i] for i in chosen] == pytest.approx(theirs, rel=1e-6, abs=1e-6)


def without_statistics(content):
    (channel,), (measurement,) = content["channels"], content["measurements"]
    for sample in channel["samples"]:
        sample["modifiers"] = [m for m in sample["modifiers"] if m["type"] != "staterror"]
    config = measurement["config"]
    config["parameters"] = [p for p in config["parameters"] if "staterror" not in p["name"]]
    return content


def profile_by_pyhf(content, mus):
    with numpy_and_minuit():
        model = read_model(content)
        start = model.config.suggested_init()
        data = model.expected_data(start)
        best = -2 * float(model.logpdf(start, data)[0])
        found = []
        for mu in mus:
            _, least = pyhf.infer.mle.fixed_poi_fit(mu, data, model, return_fitted_val=True)
            found.append(float(least) - best)
    return found


def code4(sides, alpha):
    """pyhf's interpolation between values at α = -1 and 1 of what is 1 at α = 0."""
    down, up = (np.atleast_1d(side) for side in sides)
    nodes = [[[down.tolist(), np.ones_like(down).tolist(), up.tolist()]]]
    return np.asarray(pyhf.interpolators.code4(nodes)(pyhf.tensorlib.astensor([[alpha]])))[0, 0, 0]


def test_the_unbinned_curve_is_a_brute_force_profile():
    """-2 ln L of all cells written out, with pyhf's code4, minimised by BFGS."""
    made = toy(0.1, SCALE)
    s, b, data = exact()
    kinds = [varied_densities(kind) for kind in SCALE]

    def density(contents, of_class, alpha):
        factors, ratios = kinds[of_class]
        ratio = code4(ratios, alpha)
        shape = contents * ratio * contents.sum() / (contents * ratio).sum()
        return code4(factors, alpha) * shape

    def minus_two_ln_l(mu, alpha):
        expected = mu * density(s, 0, alpha[1])
        expected = expected + code4((0.9, 1.1), alpha[0]) * density(b, 1, alpha[1])
        logs = np.log(expected / b)
        return 2 * (expected.sum() - (data.number[0] * logs).sum()) + alpha @ alpha

    least = minus_two_ln_l(1.0, np.zeros(2))  # Asimov data of an exact ratio
    curve = made.curves["unbinned"]
    for i in (0, 9, 32):
        found = minimize(lambda alpha, mu=curve.mu[i]: minus_two_ln_l(mu, alpha), np.zeros(2))
        assert curve.t[i] == pytest.approx(found.fun - least, rel=1e-6)


def test_sigma_of_an_uncertain_normalisation_is_a_closed_form():
    """Of one that is small: σ⁻² = ∫ s²/λ - u² (∫ s b/λ)² / (1 + u² ∫ b²/λ), with λ = s + b."""
    s, b, _ = exact()
    u = 0.01  # so that code4's slope, 1.003 u at 10 %, is u
    of_mu, mixed, of_alpha = ((x / (s + b)).sum() for x in (s**2, s * b, b**2))
    sigma = (of_mu - u**2 * mixed**2 / (1 + u**2 * of_alpha)) ** -0.5
    assert toy(u).curves["unbinned"].sigma == pytest.approx(sigma, rel=1e-5)
    assert sigma > 1.002 * of_mu**-0.5
