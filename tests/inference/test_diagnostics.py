"""Diagnostics of toys whose exact ratio, and whose flaws, are known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import ks_2samp, norm

from hepml.config import Cut, DiagnosticsJob
from hepml.data.oracle import draw, exact_llr
from hepml.errors import InputError
from hepml.inference.diagnostics.evaluate import diagnosed
from hepml.inference.diagnostics.oracle import distance, limit
from hepml.inference.diagnostics.overtraining import kolmogorov_smirnov, overtraining
from hepml.inference.diagnostics.reweighting import reweighted
from hepml.inference.diagnostics.sculpting import divergence, sculpting
from hepml.inference.diagnostics.stage import diagnose
from hepml.inference.diagnostics.two_sample import two_sample
from hepml.inference.events import Events


def toy(name, number, rng):
    """Variables, exact ratio and events; yields differ, which must not matter."""
    signal = np.arange(2 * number) < number
    x = np.concatenate([draw(name, True, number, rng), draw(name, False, number, rng)])
    ids = rng.integers(0, 2**63, 2 * number).astype(np.uint64)
    events = Events(ids, np.arange(2 * number) % 4, signal, np.where(signal, 0.1, 3.0), 4)
    return x.T, exact_llr(name, x), events


# AUC of toy "xor" with prototypes of another two-sample classifier and an error of 0.004: exact
# 0.5045, exact times 1.2 0.5144, and 0.690 without any weights
@pytest.mark.parametrize(("factor", "auc"), [(1.0, 0.5), (1.2, 0.5144), (0.0, 0.690)])
def test_a_network_tells_what_does_not_close(rng, factor, auc):
    x, llr, events = toy("xor", 10_000, rng)
    together, *folds = two_sample(factor * llr, x, events, seed=1)
    assert together.value == pytest.approx(auc, abs=0.004 + 3 * together.error)
    assert together.error < 0.0025
    assert len(folds) == 4
    assert np.mean([fold.value for fold in folds]) == pytest.approx(together.value, abs=1e-3)


def test_the_errors_of_the_two_sample_test_have_what_is_common_in_them(rng):
    """Signal is in both samples; the ratio is exact, so that there is only noise to be learned."""
    found = []
    for seed in range(40):
        x, llr, events = toy("shift", 300, rng)
        found.append(two_sample(llr, x[:1], events, seed)[0])
    spread = np.std([auc.value for auc in found], ddof=1)
    # the spread of 40 is known to 11 %
    assert np.mean([auc.error for auc in found]) == pytest.approx(spread, rel=0.35)


def test_an_exact_ratio_closes_in_every_variable(rng):
    x, llr, events = toy("shift", 20_000, rng)
    for row in x[:3]:
        found = reweighted("x", row, llr, events)
        assert found.p_value > 1e-4
        assert found.bins == 20
        assert sum(found.signal) == pytest.approx(1)
        wrong = reweighted("x", row, llr - 0.7, events)
        assert wrong.p_value < 1e-12


def test_errors_of_the_reweighted_ratio_are_its_spread(rng):
    ratios, errors = [], []
    edges = None
    for _ in range(150):
        x, llr, events = toy("shift", 1500, rng)
        found = reweighted("x", np.clip(np.rint(x[0]), -2, 2), llr, events)
        assert edges in (None, found.edges)
        edges = found.edges
        ratios.append(found.ratio)
        errors.append(found.error)
    spread = np.std(ratios, axis=0, ddof=1)
    assert np.mean(errors, axis=0) == pytest.approx(spread, rel=0.25)  # known to 6 %
    pull = (np.mean(ratios, axis=0) - 1) / (spread / 150**0.5)
    assert np.abs(pull).max() < 4


def test_kolmogorov_smirnov_of_equal_weights_is_the_textbooks(rng):
    x, y = rng.normal(size=300), rng.normal(0.2, 1, 500)
    first, second = (
        Events(np.arange(n, dtype=np.uint64), np.zeros(n, int), np.ones(n, bool), np.ones(n), 1)
        for n in (300, 500)
    )
    found = kolmogorov_smirnov((x, first), (y, second))
    known = ks_2samp(x, y, method="asymp")
    assert found.distance == pytest.approx(known.statistic)
    assert found.p_value == pytest.approx(known.pvalue, rel=0.02)  # n m / (n + m) is rounded
    twice = [replace(e, event_id=e.event_id // np.uint64(2)) for e in (first, second)]
    weaker = kolmogorov_smirnov((x, twice[0]), (y, twice[1]))
    assert weaker.distance == found.distance
    assert weaker.p_value > found.p_value


def test_networks_without_over_training_show_none(rng):
    _, llr, events = toy("shift", 4000, rng)
    found = overtraining(llr, llr, events)
    assert len(found) == 5
    assert found[0].auc.value == found[0].auc.error == 0
    assert found[0].cross_entropy.value == 0
    assert min(found[0].signal.p_value, found[0].background.p_value) > 1e-3


def test_over_training_is_seen_by_every_test(rng):
    _, llr, events = toy("shift", 4000, rng)
    seen = llr + np.where(events.signal, 0.4, -0.4)
    found = overtraining(llr, seen, events)[0]
    assert found.auc.value > 10 * found.auc.error > 0
    assert found.cross_entropy.value > 10 * found.cross_entropy.error > 0
    assert max(found.signal.p_value, found.background.p_value) < 1e-6


def test_kolmogorov_smirnov_compares_what_one_network_scored(rng):
    """Network k trained on fold k - 1 and never saw fold k; each has a scale of its own."""
    _, llr, events = toy("shift", 4000, rng)
    scale = np.array([1.0, 3.0, 0.2, 7.0])
    unseen, seen = llr * scale[events.fold], llr * scale[(events.fold + 1) % 4]
    tests = [(o.signal, o.background) for o in overtraining(unseen, seen, events)]
    assert min(ks.p_value for pair in tests for ks in pair) > 1e-3


def correlated(rho, rng):
    """A variable in 55 bins of equal numbers of events, and a selection of 10 % by a score."""
    a, b = rng.normal(size=(2, 100_000))
    cell = np.searchsorted(np.quantile(a, np.arange(1, 55) / 55), a)
    return cell, rho * a + (1 - rho**2) ** 0.5 * b > norm.isf(0.1)


@pytest.mark.parametrize("rho", [0.1, 0.3])
def test_divergence_of_known_correlations(rng, rho):
    """Against the integral, with p(a|pass) = φ(a) Φ((ρa - t)/√(1 - ρ²)) / 0.1."""

    def integrand(a):
        kept = norm.cdf((rho * a - norm.isf(0.1)) / (1 - rho**2) ** 0.5)
        p, q = norm.pdf(a) * kept / 0.1, norm.pdf(a) * (1 - kept) / 0.9
        return (p * np.log2(2 * p / (p + q)) + q * np.log2(2 * q / (p + q))) / 2

    found = divergence(*correlated(rho, rng), np.ones(100_000), 55)
    exact = quad(integrand, -6, 6)[0]
    assert found - BY_CHANCE == pytest.approx(exact, rel=0.15)  # the error of the smaller is 6 %


# (bins - 1)/(8 ln 2) · (1/n₁ + 1/n₂), half the χ² of homogeneity, to leading order
BY_CHANCE = 54 / (8 * np.log(2)) * (1e-4 + 1 / 9e4)


def test_divergence_by_chance(rng):
    cell, passed = correlated(0, rng)
    found = [divergence(cell, rng.permutation(passed), np.ones(100_000), 55) for _ in range(60)]
    assert np.mean(found) == pytest.approx(BY_CHANCE, abs=4 * np.std(found) / 60**0.5)


def test_sculpting_is_told_from_chance(rng):
    _, _, events = toy("shift", 8000, rng)
    mass, score = rng.normal(size=(2, 16_000))
    nothing = sculpting("mass", mass, score > 1, events, rng)
    assert nothing.p_value > 0.002
    chance = nothing.expected
    assert abs(nothing.divergence.value - chance.value) < 4 * chance.error
    sculpted = sculpting("mass", mass, score + mass > 1, events, rng)
    assert sculpted.p_value == 1 / 401
    assert sculpted.divergence.value > 0.1 > 10 * sculpted.divergence.error
    assert sum(sculpted.passed) == pytest.approx(1)
    assert sculpting("mass", mass, score > 9, events, rng) is None


def test_the_divergence_of_what_is_disjoint_is_one_bit():
    cell, passed = np.array([0, 0, 1, 1, 1]), np.array([1, 1, 0, 0, 0], bool)
    assert divergence(cell, passed, np.ones(5), 2) == pytest.approx(1)
    assert divergence(cell, np.array([1, 0, 1, 0, 0], bool), np.ones(5), 2) == pytest.approx(
        _bits(0.5) - _bits(0.5) / 2 - _bits(1 / 3) / 2 + _bits((0.5 + 1 / 3) / 2) - _bits(0.5)
    )


def _bits(p):
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def test_the_distance_of_the_exact_ratio_to_itself_is_nothing(rng, make_job):
    _, llr, events = toy("shift", 3000, rng)
    found = distance(llr, llr, events)
    assert found.auc.value == found.cross_entropy.value == found.rmse.value == 0
    assert limit("exact", llr, llr, events, make_job()).z_ratio.value == 1


def test_noise_on_the_exact_ratio_is_measured(rng, make_job):
    _, llr, events = toy("shift", 20_000, rng)
    noisy = llr + rng.normal(0, 0.5, len(llr))
    found = distance(noisy, llr, events)
    assert found.rmse.value == pytest.approx(0.5, abs=4 * found.rmse.error)
    # LLR ~ N(±D²/2, D²), D = 1.5, to which the noise adds its variance
    gap = norm.cdf(1.5 / 2**0.5) - norm.cdf(1.5**2 / (2 * (1.5**2 + 0.25)) ** 0.5)
    assert found.auc.value == pytest.approx(gap, abs=4 * found.auc.error)
    assert found.cross_entropy.value > 5 * found.cross_entropy.error
    assert limit("exact", noisy, llr, events, make_job()).z_ratio.value < 1


@pytest.fixture
def job(make_job):
    def make(**settings):
        return DiagnosticsJob(
            **dict(make_job(**settings)), variables=("x0", "x1"), complete=True, exact="exact_llr"
        )

    return make


def test_a_good_score_passes_and_each_flaw_is_said(rng, job):
    x, llr, events = toy("shift", 4000, rng)
    variables = {"x0": x[0], "x1": x[1], "exact_llr": llr}

    def said(unseen, seen, **settings):
        found = diagnosed(job(**settings), np.stack([unseen, seen]), variables, events)
        return " ".join(found.warnings)

    noisy = llr + rng.normal(0, 0.1, len(llr))
    assert said(noisy, noisy) == ""
    assert "does not close" in said(1.6 * llr, 1.6 * llr)
    assert "over-training" in said(noisy, noisy + np.where(events.signal, 0.5, -0.5))
    leaked = llr + np.where(events.signal, 0.5, -0.5)
    assert "better than the exact ratio" in said(leaked, leaked)
    assert "x0 of the background is sculpted" in said(
        noisy, noisy, sculpting="x0", largest_sculpting=1e-4
    )
    with pytest.raises(InputError, match=r"does not close.*inference.gate: warn"):
        said(1.6 * llr, 1.6 * llr, gate="fail")


def test_what_a_network_need_not_see_is_a_remark_and_never_fails(rng, job):
    x, _, events = toy("shift", 4000, rng)
    blind = x[0] * (1.5 / 8**0.5) - 1.5**2 / 16  # the exact ratio of x0 alone
    images = replace_job(job(gate="fail"), complete=False, exact=None)
    found = diagnosed(images, np.stack([blind, blind]), {"x0": x[0], "x1": x[1]}, events)
    assert "may not see all" in found.warnings[0]
    seen = replace_job(images, variables=("x0",), complete=True)
    assert diagnosed(seen, np.stack([blind, blind]), {"x0": x[0]}, events).warnings == []


def replace_job(job, **changes):
    return job.model_copy(update=changes)


def test_from_files_to_file(samples, make_job, tmp_path):
    job = DiagnosticsJob(
        **dict(make_job(sculpting="y")), variables=("x", "y"), complete=True, exact=None
    )
    diagnose(job, samples.data, samples.scores, tmp_path / "mlp.closure.json")
    found = json.loads((tmp_path / "mlp.closure.json").read_text())
    assert found["warnings"] == []
    assert found["all"]["two_sample"]["value"] == pytest.approx(0.5, abs=0.02)
    assert [v["variable"] for v in found["reweighted"]] == ["x", "y"]
    assert found["sculpting"]["signal_efficiency"] == pytest.approx(0.5, abs=1e-3)
    assert found["limit"] is found["all"]["oracle"] is None


def test_what_cuts_sculpt(samples, make_job, tmp_path):
    cuts = make_job("cuts", (Cut(variable="x", keep="above"),), sculpting="x")
    job = DiagnosticsJob(**dict(cuts), variables=("x",), complete=False, exact=None)
    diagnose(job, samples.data, (), tmp_path / "cuts.closure.json")
    found = json.loads((tmp_path / "cuts.closure.json").read_text())
    assert found["all"] is None
    # at ε_S = 1/2, x > 1.5 passes: nearly disjoint from what fails
    assert found["sculpting"]["divergence"]["value"] > 0.8
