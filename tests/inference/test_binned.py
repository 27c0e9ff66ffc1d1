"""The quoted fit: pyhf and our own likelihood are the same, and pyhf is left as it was."""

import json

import cabinetry
import numpy as np
import pyhf
import pytest

from hepml.inference.binned import Histogram, fit, numpy_and_minuit, read_model, workspace
from hepml.inference.likelihood import BackgroundScale, Counts, asimov_q, discovery_significance


@pytest.fixture(scope="module")
def histogram():
    return Histogram(
        signal=np.array([3.0, 5.0, 9.0, 6.0]),
        signal_error=np.array([0.3, 0.2, 0.5, 0.4]),
        background=np.array([400.0, 60.0, 21.0, 4.0]),
        background_error=np.array([9.0, 4.0, 2.5, 0.9]),
    )


@pytest.fixture(scope="module")
def content(histogram):
    # through text, as users read it
    return json.loads(json.dumps(workspace(histogram, 0.15, "mlp")))


@pytest.fixture(scope="module")
def fitted(content):
    return fit(content)


@pytest.fixture(scope="module")
def counts(histogram):
    relative = histogram.background_error / histogram.background
    return Counts(histogram.signal[None], histogram.background[None], relative[None])


def test_own_significance_is_pyhfs(fitted, counts):
    assert discovery_significance(counts, 0.15)[0] == pytest.approx(fitted.significance, rel=1e-6)


def test_interval_ends_where_the_likelihood_has_fallen_by_half(fitted, counts):
    data = counts.signal + counts.background
    for end in fitted.interval:
        assert asimov_q(counts, data, end, 0.15)[0] == pytest.approx(1, abs=1e-3)
    low, high = fitted.interval
    assert (high - low) / 2 == pytest.approx(fitted.sigma_mu, rel=0.05)


def test_limits_are_pyhfs(fitted, content):
    """Against pyhf's CLs with background-only Asimov data as observed."""
    with numpy_and_minuit():
        model = read_model(content)
        start = np.array(model.config.suggested_init())
        start[model.config.poi_index] = 0
        data = model.expected_data(start.tolist())
        for limit, band in zip(fitted.limits, range(5), strict=True):
            _, expected = pyhf.infer.hypotest(
                limit, data, model, test_stat="qtilde", return_expected_set=True
            )
            assert float(expected[band]) == pytest.approx(0.05, rel=2e-3)


def test_cabinetry_finds_the_same_significance(fitted, content):
    before = pyhf.get_backend()
    try:
        model = read_model(content)
        data = cabinetry.model_utils.asimov_data(model, poi_name="mu", poi_value=1.0)
        found = cabinetry.fit.significance(model, data)
    finally:
        pyhf.set_backend(*before)
    assert found.observed_significance == pytest.approx(fitted.significance, rel=1e-4)


def test_observations_are_the_asimov_data(content):
    model = read_model(content)
    start = model.config.suggested_init()
    assert content["observations"][0]["data"] == pytest.approx(
        np.asarray(model.expected_data(start, include_auxdata=False))
    )


def test_pyhf_is_left_as_it_was():
    before = pyhf.get_backend()
    with numpy_and_minuit():
        assert pyhf.get_backend()[1].name == "minuit"
    assert pyhf.get_backend() == before


def test_without_normalisation_uncertainty(histogram, counts):
    fitted = fit(workspace(histogram, 0.0, "mlp"))
    own = discovery_significance(counts, 0.0)[0]
    assert own == pytest.approx(fitted.significance, rel=1e-6)
    assert own > discovery_significance(counts, 0.15)[0]


def test_many_sets_at_once(counts):
    doubled = Counts(*(np.vstack([x, 2 * x, x]) for x in vars(counts).values()))
    z = discovery_significance(doubled, 0.15)
    assert z[0] == z[2] == discovery_significance(counts, 0.15)[0]


def test_background_scale_is_smooth():
    scale = BackgroundScale(0.2)
    assert scale(np.array([-1.0, 0.0, 1.0])) == pytest.approx([0.8, 1, 1.2])
    alpha = np.linspace(-3, 3, 25)
    numeric = (scale(alpha + 1e-6) - scale(alpha - 1e-6)) / 2e-6
    assert scale.slope(alpha) == pytest.approx(numeric, rel=1e-6)


def test_background_scale_is_pyhfs_code4():
    alpha = np.array([-2.5, -0.7, 0.1, 0.9, 4.0])
    code4 = pyhf.interpolators.code4([[[[0.8], [1.0], [1.2]]]])
    expected = np.asarray(code4(pyhf.tensorlib.astensor([alpha.tolist()]))).ravel()
    assert BackgroundScale(0.2)(alpha) == pytest.approx(expected, rel=1e-9)
