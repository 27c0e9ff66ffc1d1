"""Counting significances against published numbers and independent programs.

pyhf, RooStats and cabinetry numbers were obtained by running these programs; see each test.
"""

import numpy as np
import pytest

from hepml.inference.counting import (
    asimov_significance,
    asimov_significance_gaussian,
    binomial_p_value,
    exact_significance,
    extra_data_fraction,
    garwood_interval,
    li_ma_significance,
    p_value,
    p_value_ratio,
    poisson_p_value,
    significance_of,
)
from hepml.inference.toys.significance import on_off_p_value


def arrays(*numbers):
    return tuple(np.array([number], float) for number in numbers)


# first: the value in a public unit test of the formula; last three: pyhf without systematics
@pytest.mark.parametrize(
    ("s", "b", "z"),
    [
        (5, 20, 1.0757218812),
        (10, 100, 0.9839916447569422),
        (50, 100, 4.65183108382595),
        (5, 1, 3.391329183482),
        (1, 0.1, 1.809798220840),
    ],
)
def test_known_background(s, b, z):
    assert asimov_significance(*arrays(s, b)) == pytest.approx(z, rel=1e-9)


# pyhf shapesys and cabinetry.fit.significance give 3.17297288 and 3.172972862 for (50, 100, 10)
@pytest.mark.parametrize(
    ("s", "b", "sigma", "z"),
    [
        (50, 100, 10, 3.1729728607954435),
        (10, 100, 10, 0.6901960632965),
        (5, 1, 0.5, 2.7637239405443),
        (50, 100, 20, 1.9683113613005),
    ],
)
def test_uncertain_background(s, b, sigma, z):
    assert asimov_significance(*arrays(s, b, sigma)) == pytest.approx(z, rel=1e-9)


def test_uncertain_background_is_li_and_ma():
    s, b, sigma = np.array([3.0, 50, 0.1]), np.array([1.0, 100, 2000]), np.array([0.7, 10, 44])
    tau = b / sigma**2
    assert asimov_significance(s, b, sigma) == pytest.approx(
        li_ma_significance(s + b, tau * b, tau), rel=1e-6
    )


def test_cowan_formula_as_it_is_written():
    s, b, v = 12.0, 30.0, 16.0
    n = s + b
    square = n * np.log(n * (b + v) / (b**2 + n * v)) - b**2 / v * np.log(1 + v * s / (b * (b + v)))
    assert asimov_significance(*arrays(s, b, 4)) == pytest.approx(np.sqrt(2 * square), rel=1e-12)


def test_tiny_signals_do_not_cancel():
    """Z → s/√(b + σ²) for s ≪ b; the textbook form gives 1.29e-5 for the first."""
    assert asimov_significance(*arrays(1e-3, 1e6)) == pytest.approx(1e-6, rel=1e-9)
    assert asimov_significance(*arrays(1e-3, 1e6, 1e3)) == pytest.approx(1e-6 / 2**0.5, rel=1e-9)


def test_the_series_joins_the_formula():
    b = np.full(2, 1e5)
    z = asimov_significance(b * 1e-3 * (1 + np.array([-1e-9, 1e-9])), b)
    assert z[0] == pytest.approx(z[1], rel=3e-9)


def test_no_uncertainty_is_the_known_background():
    s, b = arrays(7, 3)
    assert asimov_significance(s, b, 0 * b) == asimov_significance(s, b)
    assert asimov_significance(s, b, 1e-7 * b) == pytest.approx(asimov_significance(s, b))


def test_deficits_are_negative():
    assert asimov_significance(*arrays(-5, 20)) < 0


def test_background_must_be_positive():
    with pytest.raises(ValueError, match=r"bins \[1\] hold \[0.0\]; merge"):
        asimov_significance(np.array([1.0, 1.0]), np.array([1.0, 0.0]))


# four bins with independent errors: pyhf agrees to 5e-6 with both
def test_bins_add_in_quadrature():
    s, b, sigma = (np.array(x, float) for x in ([1, 5, 12, 20], [1000, 300, 80, 15], [20, 9, 5, 3]))
    for z, expected in (
        (asimov_significance(s, b), 4.5946622815),
        (asimov_significance(s, b, sigma), 3.4660595184),
    ):
        assert np.sqrt(np.sum(z**2)) == pytest.approx(expected, rel=1e-9)


def test_roostats_on_off():
    """RooStats' HybridInstructional prints 0.00094165 and 3.10804 for n_on 150, n_off 100, τ 1."""
    p = binomial_p_value(*arrays(150, 100, 1))
    assert p == pytest.approx(9.4165e-4, rel=1e-5)
    assert significance_of(p) == pytest.approx(3.10804, abs=5e-6)
    assert li_ma_significance(*arrays(150, 100, 1)) == pytest.approx(3.1729728608, rel=1e-9)


# Cousins, Linnemann and Tucker, arXiv:physics/0702156, Table 1
@pytest.mark.parametrize(
    ("on", "off", "tau", "z_bi", "z_pl"),
    [
        (4, 5, 5, 1.66, 1.95),
        (6, 18.78, 14.44, 2.63, 2.82),
        (9, 17.83, 4.69, 1.82, 1.99),
        (17, 40.11, 10.56, 4.46, 4.57),
        (50, 55, 2, 2.93, 3.02),
        (67, 15, 0.5, 2.89, 3.04),
        (200, 10, 0.1, 2.20, 2.38),
        (523, 2327, 5.99, 5.93, 5.95),
        (498426, 493434, 1, 5.01, 5.01),
        (2119449, 23650096, 11.21, 6.40, 6.40),
    ],
)
def test_cousins_linnemann_tucker(on, off, tau, z_bi, z_pl):
    counts = arrays(on, off, tau)
    assert significance_of(binomial_p_value(*counts)) == pytest.approx(z_bi, abs=0.0051)
    assert li_ma_significance(*counts) == pytest.approx(z_pl, abs=0.0051)


def test_pyhf_on_off_p_value():
    """s = 25, b = 50 ± 7, n = 80: pyhf's own tests have p₀ = 0.003936883 to 3e-4."""
    tau = 50 / 49
    z = li_ma_significance(*arrays(80, tau * 50, tau))
    assert p_value(z) == pytest.approx(0.00393687844, rel=1e-8)
    assert p_value(z) == pytest.approx(0.003936883, rel=3e-4)


def test_empty_counts_are_no_evidence():
    assert binomial_p_value(*arrays(0, 5, 1)) == 1
    assert poisson_p_value(*arrays(0, 5)) == 1
    assert li_ma_significance(*arrays(0, 5, 1)) == pytest.approx(-np.sqrt(2 * 5 * np.log(2)))


def test_poisson_p_value_is_the_sum_of_the_tail():
    below = np.exp(-4.2) * (1 + 4.2 + 4.2**2 / 2)
    assert poisson_p_value(*arrays(3, 4.2)) == pytest.approx(1 - below, rel=1e-12)


# exact Asimov, arXiv:2009.07249, evaluated independently
@pytest.mark.parametrize(("s", "b", "z"), [(1, 0.1, 1.461), (3, 0.1, 3.699), (50, 100, 4.624)])
def test_exact_asimov(s, b, z):
    assert exact_significance(*arrays(s, b)) == pytest.approx(z, abs=6e-4)


def test_p_values_and_significances_are_inverse():
    z = np.array([-1.0, 0.0, 5.0, 30.0])
    assert significance_of(p_value(z)) == pytest.approx(z, rel=1e-12)
    assert p_value(np.array([5.0])) == pytest.approx(2.866515719e-7, rel=1e-9)


# F. Garwood, Biometrika 28 (1936) 437; 68.27 % values as in the PDG's and ROOT's kPoisson
@pytest.mark.parametrize(
    ("n", "low", "high"),
    [(0, 0, 1.8410), (1, 0.1728, 3.2995), (3, 1.3673, 5.9182), (10, 6.8914, 14.2669)],
)
def test_garwood(n, low, high):
    assert garwood_interval(np.array([n]))[:, 0] == pytest.approx([low, high], abs=2e-4)


def test_garwood_95_of_nothing_is_3_69():
    assert garwood_interval(np.array([0]), 0.95)[1] == pytest.approx(-np.log(0.025))


# Radovic et al., Nature 560 (2018) 41, Table 1: Z and p-value without and with machine learning,
# ratio of the p-values, additional data. Four of five ratios also follow from Z to their digits;
# that of VH→bb (4.7) only from the printed, rounded p-values.
RADOVIC = [
    pytest.param(2.2, 2.7, 0.014, 0.0035, 4.0, 51, id="CMS H→γγ"),
    pytest.param(2.5, 3.4, 0.0062, 0.00034, 18, 85, id="ATLAS H→ττ"),
    pytest.param(1.9, 2.5, 0.029, 0.0062, 4.7, 73, id="ATLAS VH→bb Run 1"),
    pytest.param(2.8, 3.0, 0.0026, 0.00135, 1.9, 15, id="ATLAS VH→bb 2015-16"),
    pytest.param(1.4, 2.1, 0.081, 0.018, 4.5, 125, id="CMS VH→bb"),
]


@pytest.mark.parametrize(("cuts", "ml", "p_cuts", "p_ml", "ratio", "extra"), RADOVIC)
def test_radovic(cuts, ml, p_cuts, p_ml, ratio, extra):
    assert round(100 * extra_data_fraction(ml, cuts)) == extra
    assert float(f"{p_value(np.array(cuts)):.2g}") == p_cuts
    assert p_value(np.array(ml)) == pytest.approx(p_ml, rel=0.012)  # two or three printed digits
    assert float(f"{p_cuts / p_ml:.2g}") == ratio
    assert p_value_ratio(ml, cuts) == pytest.approx(ratio, rel=0.025)


def test_p_value_ratio_beyond_double_precision():
    assert p_value_ratio(39.0, 38.0) == pytest.approx(np.exp((39**2 - 38**2) / 2), rel=0.05)
    assert p_value_ratio(200.0, 1.0) == np.inf


# HistFactory's staterror: pyhf 3.28934135 (histosys 3.28934130), and 4 bins
@pytest.mark.parametrize(
    ("s", "b", "sigma", "z"),
    [
        ([50], [100], [10], 3.289341304307697),
        ([50], [100], [0], 4.65183108382595),
        ([1, 5, 12, 20], [1000, 300, 80, 15], [20, 9, 5, 3], 3.6226563520),
    ],
)
def test_gaussian_constraint(s, b, sigma, z):
    s, b, sigma = (np.array(x, float) for x in (s, b, sigma))
    found = asimov_significance_gaussian(s, b, sigma)
    assert np.sqrt(np.sum(found**2)) == pytest.approx(z, rel=1e-9)


# RooStats' HybridInstructional counts: toys 7.685e-4 ± 2e-5 at the best fit without signal;
# n = 6, m = 4, τ = 4: 0.00330 ± 4e-5; two million toys each
@pytest.mark.parametrize(
    ("observed", "tau", "p", "error"),
    [((150.0, 100.0), 1.0, 7.685e-4, 2e-5), ((6.0, 4.0), 4.0, 0.00330, 4e-5)],
)
def test_on_off_toys(observed, tau, p, error):
    found, own = on_off_p_value(observed, tau, 1_000_000, 1)
    assert found == pytest.approx(p, abs=3 * np.hypot(error, own))
