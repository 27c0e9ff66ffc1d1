"""Binned fits against pyhf's documented numbers and an analytic mixture of Gaussians."""

import numpy as np
import pytest
from scipy.stats import norm

from hepml.inference.binned import fit
from hepml.inference.likelihood import discovery_significance
from hepml.inference.model import simple_model
from hepml.inference.templates import Effect, Template, Templates
from hepml.inference.workspace import pyhf_significance, workspace


def model(s, b, relative_error, uncertainty=0.0):
    return simple_model(*(np.array([x], float) for x in (s, b, relative_error)), uncertainty)


FOUR = ([1, 5, 12, 20], [1000, 300, 80, 15], [20 / 1000, 9 / 300, 5 / 80, 3 / 15])


# pyhf staterror on the background; staterror + normsys 10 %; normsys 10 % alone
@pytest.mark.parametrize(
    ("s", "b", "r", "uncertainty", "z", "tolerance"),
    [
        ([50], [100], [0.1], 0.0, 3.289341304307697, 1e-9),
        (*FOUR, 0.0, 3.6226563520, 1e-9),
        (*FOUR, 0.1, 3.527258, 1e-6),
        ([50], [100], [0], 0.1, 3.190148, 1e-6),
        ([50], [100], [0], 0.0, 4.65183108382595, 1e-9),
    ],
)
def test_own_likelihood(s, b, r, uncertainty, z, tolerance):
    own = discovery_significance(model(s, b, r, uncertainty))
    assert own == pytest.approx(z, rel=tolerance)


def test_pyhf():
    s, b, r = (np.array(x, float) for x in FOUR)
    uncertain = {"normalisation": Effect((0.9, 1.1), None)}
    processes = Template("s", True, s, 0 * s, {}), Template("b", False, b, r * b, uncertain)
    found = pyhf_significance(workspace(Templates(processes, ("normalisation",)), "sr"))
    assert found == pytest.approx(3.527258, rel=1e-6)


def gaussian_mixture(bins):
    """50 N(1.5, 1) on 500 N(0, 1), equal bins between -3 and 4.5 with open ends."""
    edges = np.linspace(-3, 4.5, bins + 1)
    edges[[0, -1]] = -np.inf, np.inf
    return 50 * np.diff(norm.cdf(edges - 1.5)), 500 * np.diff(norm.cdf(edges))


# unbinned optimum 5.1539195447, by quadrature
@pytest.mark.parametrize(
    ("bins", "z"), [(40, 5.1428), (20, 5.1135), (10, 5.0049), (5, 4.6599), (2, 3.4981)]
)
def test_two_gaussians(bins, z):
    s, b = gaussian_mixture(bins)
    own = discovery_significance(model(s, b, 0 * s))
    assert own == pytest.approx(z, abs=6e-5)
    assert own < 5.1539195447


# Fisher information of the binned mixture
def test_sigma_mu_of_two_gaussians():
    s, b = gaussian_mixture(5)
    fitted = fit(model(s, b, 1e-4 + 0 * b))
    assert fitted.sigma_mu == pytest.approx(0.27295, rel=1e-3)
    low, high = fitted.interval
    assert low < 0.753509  # the unbinned 68 % interval is [0.753509, 1.268313]: bins lose
    assert high > 1.268313
