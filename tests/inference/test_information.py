"""Curves of -2Δln L of the two-Gaussian toy, whose answers are integrals and closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from hepml.inference.events import Yields
from hepml.inference.information import likelihood_curves
from hepml.inference.unbinned import asimov

S, B, SHIFT = 50.0, 500.0, 1.5


def curves(uncertainty):
    x = np.linspace(-9, 11, 2_001)
    width = x[1] - x[0]
    s, b = (n * norm.pdf(x - mean) * width for n, mean in ((S, SHIFT), (B, 0.0)))
    data = asimov(np.exp(SHIFT * x - SHIFT**2 / 2)[None], s[None], b[None])
    edges = np.linspace(-3, 4.5, 21)
    edges[[0, -1]] = -np.inf, np.inf
    s, b = S * np.diff(norm.cdf(edges - SHIFT)), B * np.diff(norm.cdf(edges))
    passed = S * norm.sf(1.31 - SHIFT), B * norm.sf(1.31)
    found = likelihood_curves(Yields(s, b, s, b, s, b), passed, data, uncertainty)
    return {curve.estimator: curve for curve in found}


def test_sigmas_are_the_known_ones():
    """Quadrature, 20 bins, best cut at x > 1.31, and √(S+B)/S."""
    known = {"unbinned": 0.2575374, "binned": 0.25860, "counting": 0.30368, "all events": 0.4690416}
    found = {name: curve.sigma for name, curve in curves(0.0).items()}
    assert found == pytest.approx(known, abs=6e-6)
    assert list(found) == list(known)


@pytest.mark.parametrize("uncertainty", [0.0, 0.1])
def test_who_knows_less_is_less_sure(uncertainty):
    found = curves(uncertainty)
    sigmas = [curve.sigma for curve in found.values()]
    assert sigmas == sorted(sigmas)
    at_two = [np.interp(1.5, curve.mu, curve.t) for curve in found.values()]
    assert at_two == sorted(at_two, reverse=True)


def test_curves_are_the_likelihood_ratio():
    """Asimov t of the unbinned fit at µ = 1.5; for a count t(0) is Z² of Eq. (97)."""
    found = curves(0.0)
    unbinned = found["unbinned"]
    assert np.interp(1.5, unbinned.mu, unbinned.t) == pytest.approx(3.261985, abs=0.02)
    everything = found["all events"]
    assert everything.mu[0] == 0
    assert everything.t[0] ** 0.5 == pytest.approx(2.2002723, abs=1e-6)
