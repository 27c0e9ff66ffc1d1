"""How much luminosity the baseline would need."""

import numpy as np
import pytest

from hepml.inference.comparison import luminosity_factor
from hepml.inference.counting import asimov_significance

PASSED = (20.0, 100.0)


def counted(uncertainty):
    s, b = (np.array([x]) for x in PASSED)
    return float(asimov_significance(s, b, uncertainty * b)[0])


def test_without_uncertainties_z_grows_as_the_root_of_luminosity():
    z = counted(0.0)
    assert luminosity_factor(PASSED, 0.0, 1.7 * z) == pytest.approx(1.7**2)
    assert luminosity_factor(PASSED, 0.0, 0.5 * z) == pytest.approx(0.25)
    assert luminosity_factor(PASSED, 0.0, 101 * z) is None  # more than 10,000 times


def test_systematics_level_off():
    """Z → √(2(x - ln(1+x)))/u for x = s/b and L → ∞: 1.8805 at x = 0.2 and u = 10 %."""
    assert luminosity_factor(PASSED, 0.1, 1.88) > 100
    assert luminosity_factor(PASSED, 0.1, 1.8806) is None


@pytest.mark.parametrize("uncertainty", [0.0, 0.1])
def test_targets_that_are_almost_nothing_are_reached(uncertainty):
    """Z = s/√b √L for L → 0 but with the entropy of s/b = 0.2."""
    z = counted(0.0)
    factor = luminosity_factor(PASSED, uncertainty, 1e-6)
    assert factor == pytest.approx((1e-6 / z) ** 2, rel=1e-4)


@pytest.mark.parametrize("uncertainty", [0.0, 0.1])
def test_the_cuts_need_no_more_luminosity_for_what_they_have(uncertainty):
    assert luminosity_factor(PASSED, uncertainty, counted(uncertainty)) == pytest.approx(1)
