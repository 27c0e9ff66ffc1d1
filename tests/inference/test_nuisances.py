"""Many nuisance parameters: pyhf and cabinetry say the same, and limits are what they must be."""

import json

import cabinetry
import numpy as np
import pyhf
import pytest

from hepml.errors import InputError
from hepml.inference.impacts import rank_binned
from hepml.inference.interpolation import Factors, Shifts
from hepml.inference.likelihood import (
    BinnedLikelihood,
    asimov_covariance,
    best_fit,
    discovery_significance,
    signal_strength_error,
)
from hepml.inference.model import simple_model
from hepml.inference.templates import Effect, Template, Templates, model_of
from hepml.inference.workspace import (
    likelihood_model,
    numpy_and_minuit,
    pyhf_significance,
    read_model,
    workspace,
)


def made_up(bins, processes, sources, seed):
    """Templates with factors and shapes up to 20 %, some of them lopsided, some absent."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(processes):
        rising, falling = np.linspace(1, 10, bins), np.geomspace(500, 6, bins)
        nominal = rng.uniform(0.5, 1.5, bins) * (falling if i else rising)
        effects = {}
        for k in range(sources):
            factors = 1 - 0.15 * rng.random(), 1 + 0.2 * rng.random()
            up = nominal * rng.uniform(-0.15, 0.15, bins)
            shifts = None if rng.random() < 0.3 else np.stack([-rng.uniform(0.4, 1.3) * up, up])
            if rng.random() < 0.8:
                effects[f"source{k}"] = Effect(factors, shifts)
        error = nominal / np.sqrt(np.geomspace(3000, 15, bins))
        found.append(Template(f"process{i}", i == 0, nominal, error, effects))
    names = tuple(f"source{k}" for k in range(sources))
    return Templates(tuple(found), names)


MODELS = [(3, 2, 1, 1), (5, 3, 3, 2), (10, 4, 5, 3)]


@pytest.mark.parametrize("made", MODELS)
def test_significance_is_pyhfs(made):
    templates = made_up(*made)
    own = discovery_significance(model_of(templates))[0]
    assert pyhf_significance(workspace(templates, "sr")) == pytest.approx(own, rel=1e-6)


@pytest.mark.parametrize("made", MODELS)
def test_a_workspace_holds_the_whole_model(made):
    templates = made_up(*made)
    own = model_of(templates)
    read = likelihood_model(json.loads(json.dumps(workspace(templates, "sr"))))
    for name, value in vars(own).items():
        assert getattr(read, name) == pytest.approx(value, rel=1e-12, abs=1e-12)


def test_likelihood_is_pyhfs_far_from_the_minimum():
    """Up to a constant, with γ where pyhf's is largest: at α beyond 1 and µ ≠ 1."""
    templates = made_up(4, 3, 3, 5)
    model = model_of(templates)
    likelihood = BinnedLikelihood(model, model.asimov)
    with numpy_and_minuit():
        theirs = read_model(workspace(templates, "sr"))
        config = theirs.config
        start = np.array(config.suggested_init())
        data = theirs.expected_data(start)
        best = -2 * float(theirs.logpdf(start, data)[0])
        for mu, alpha in ((0.0, [0.4, -1.7, 2.2]), (2.5, [-0.3, 0.9, -1.1])):
            at = start.copy()
            at[config.poi_index] = mu
            fixed = np.ones(len(at), dtype=bool)
            fixed[config.par_slice("staterror_sr")] = False
            for k, value in enumerate(alpha):
                at[config.par_slice(f"source{k}")] = value
            _, found = pyhf.infer.mle.fit(
                data, theirs, at.tolist(), fixed_params=fixed.tolist(), return_fitted_val=True
            )
            own = likelihood.value(np.array([[mu, *alpha]]))[0]
            assert own == pytest.approx(float(found) - best, rel=1e-6)


def test_gradient_and_hessian_are_differences():
    model = model_of(made_up(4, 3, 3, 5))
    likelihood = BinnedLikelihood(model, 1.1 * model.asimov)
    at = np.array([[0.6, 0.3, -1.4, 0.8]])
    gradient, hessian, _ = likelihood.derivatives(at)
    for i in range(4):
        step = np.eye(4)[i] * 1e-5
        difference = (likelihood.value(at + step) - likelihood.value(at - step)) / 4e-5
        assert gradient[0, i] == pytest.approx(difference[0], rel=1e-6, abs=1e-6)
        sides = [likelihood.derivatives(at + sign * step)[0][0] for sign in (1, -1)]
        assert hessian[0, i] == pytest.approx((sides[0] - sides[1]) / 2e-5, rel=1e-5, abs=1e-5)


def test_cabinetry_finds_significance_errors_and_impacts():
    templates = made_up(4, 3, 2, 7)
    content = json.loads(json.dumps(workspace(templates, "sr")))
    own = rank_binned(model_of(templates), {"source0": "A", "source1": "B"})
    before = pyhf.get_backend()
    try:
        model = read_model(content)
        data = cabinetry.model_utils.asimov_data(model, poi_name="mu", poi_value=1.0)
        found = cabinetry.fit.significance(model, data)
        fitted = cabinetry.fit.fit(model, data, tolerance=1e-4)
        ranked = cabinetry.fit.ranking(model, data, fit_results=fitted, tolerance=1e-4)
    finally:
        pyhf.set_backend(*before)
    assert found.observed_significance == pytest.approx(own.z, rel=1e-4)
    labels = list(ranked.labels)
    for impact in own.impacts:
        i = labels.index(impact.name)
        assert fitted.uncertainty[fitted.labels.index(impact.name)] == pytest.approx(
            impact.error, rel=2e-3
        )
        assert ranked.prefit_up[i] == pytest.approx(impact.prefit[1], abs=2e-3)
        assert ranked.prefit_down[i] == pytest.approx(impact.prefit[0], abs=2e-3)
        assert ranked.postfit_up[i] == pytest.approx(impact.postfit[1], abs=2e-3)
        assert ranked.postfit_down[i] == pytest.approx(impact.postfit[0], abs=2e-3)


def test_every_source_costs_and_all_cost_most():
    ranking = rank_binned(
        model_of(made_up(6, 3, 3, 11)), dict.fromkeys(["source0", "source1", "source2"], "")
    )
    for impact in ranking.impacts:
        assert ranking.z <= impact.z_without_this <= ranking.z_without
        assert ranking.z <= impact.z_with_only_this <= ranking.z_without
        assert 0 < impact.error <= 1
        assert impact.pull == pytest.approx(0, abs=1e-9)
    assert ranking.sigma_mu > ranking.sigma_mu_without


def test_the_error_of_mu_is_the_quadratic_sum_of_impacts_and_the_rest():
    """Of independent sources, for a Gaussian likelihood: σ² = σ₀² + Σ impact² (post-fit)."""
    bins = np.full(1, 1e6)
    effects = {"one": Effect((0.999, 1.001), None), "two": Effect((0.998, 1.002), None)}
    processes = (
        Template("s", True, 0.01 * bins, 0 * bins, {}),
        Template("b", False, bins, 0 * bins, effects),
    )
    ranking = rank_binned(model_of(Templates(processes, ("one", "two"))), {"one": "", "two": ""})
    assert [impact.name for impact in ranking.impacts] == ["two", "one"]
    # b moves by 0.1 and 0.2 %, a tenth and a fifth of s; one bin cannot constrain α
    assert ranking.impacts[0].prefit == pytest.approx([0.2, -0.2], rel=1e-3)
    assert ranking.impacts[1].postfit == pytest.approx([0.1, -0.1], rel=1e-3)
    expected = np.sqrt(ranking.sigma_mu_without**2 + 0.1**2 + 0.2**2)
    assert ranking.sigma_mu == pytest.approx(expected, rel=1e-4)


def test_a_control_bin_constrains_a_source():
    """σ(α) = 1/√(1 + n δ²) where n events of nothing but background move by δ."""
    effects = {"norm": Effect((0.9, 1.1), None)}
    s, b = np.array([0.0, 10.0]), np.array([1e4, 1e-3])
    processes = Template("s", True, s, 0 * s, {}), Template("b", False, b, 0 * b, effects)
    found = np.sqrt(asimov_covariance(model_of(Templates(processes, ("norm",))))[0, 1, 1])
    slope = Factors(np.array([0.9]), np.array([1.1]))(np.zeros(1)).slope[0]
    assert found == pytest.approx(1 / np.sqrt(1 + 1e4 * slope**2), rel=1e-4)


def test_interpolations_are_pyhfs():
    alpha = np.array([-2.5, -1.0, -0.7, 0.0, 0.1, 0.9, 4.0])
    sides = [[[[0.8], [1.0], [1.3]]]]
    code4 = pyhf.interpolators.code4(sides)
    code4p = pyhf.interpolators.code4p(sides)
    factors, shifts = (
        Factors(np.array([0.8]), np.array([1.3])),
        Shifts(np.array([-0.2]), np.array([0.3])),
    )
    for own, theirs in ((factors, code4), (shifts, code4p)):
        expected = np.asarray(theirs(pyhf.tensorlib.astensor([alpha.tolist()]))).ravel()
        assert own(alpha[:, None]).value[:, 0] == pytest.approx(expected, rel=1e-9, abs=1e-12)
        x = alpha + 0.01  # away from where curvatures jump
        up, down = (own((x + step)[:, None]) for step in (1e-5, -1e-5))
        assert own(x[:, None]).slope[:, 0] == pytest.approx(
            (up.value - down.value)[:, 0] / 2e-5, abs=1e-8
        )
        assert own(x[:, None]).curvature[:, 0] == pytest.approx(
            (up.slope - down.slope)[:, 0] / 2e-5, abs=1e-6
        )


def test_errors_of_mu_grow_with_sources():
    sizes = [signal_strength_error(model_of(made_up(5, 3, k, 13)))[0] for k in (0, 4)]
    assert sizes[1] > sizes[0]


def test_a_fit_without_background_in_a_bin_says_what_to_merge():
    model = simple_model(np.ones((1, 2)), np.array([[5.0, 0.0]]), np.zeros((1, 2)), 0.1)
    with pytest.raises(InputError, match="a bin without background; merge bins"):
        best_fit(BinnedLikelihood(model, np.array([[6.0, 1.0]])))
