"""Significances from toys, against exact ones, pyhf-like closed forms and plain toys."""

import json

import numpy as np
import pytest

from hepml.errors import InputError
from hepml.inference.counting import exact_significance
from hepml.inference.likelihood import (
    BinnedLikelihood,
    Measured,
    best_fit,
    discovery_significance,
    nominal_measurement,
)
from hepml.inference.model import Model, simple_model
from hepml.inference.stage import compare
from hepml.inference.toys.fits import discovery_q
from hepml.inference.toys.significance import (
    blocks,
    draw_binned,
    draw_on_off,
    merged,
    toy_significance,
)
from hepml.inference.toys.stage import draw_toys, merge_toys


def model(s, b, r, uncertainty):
    return simple_model(*(np.array([x], float) for x in (s, b, r)), uncertainty)


WEAK = model([1, 2], [20, 2], [0.05, 0.2], 0.1)
EMPTY = np.zeros((1, 0))


def test_asimov_data_have_the_significance_of_pyhf():
    """pyhf with staterror and normsys of 10 %: 3.527258."""
    four = model([1, 5, 12, 20], [1000, 300, 80, 15], [20 / 1000, 9 / 300, 5 / 80, 3 / 15], 0.1)
    asimov = nominal_measurement(four, four.asimov)
    assert discovery_q(four, asimov)[0] ** 0.5 == pytest.approx(3.527258, rel=1e-6)
    twice = BinnedLikelihood(four, 2 * four.total_signal + four.total_background)
    best = best_fit(twice)
    assert best[0] == pytest.approx([2, 0], abs=1e-4)
    assert twice.value(best)[0] == pytest.approx(0, abs=1e-8)


def test_fits_are_minima_of_a_likelihood_written_out(rng):
    """No direction in µ, α and every γ lowers -2 ln L, auxiliary measurements moved as well."""
    data = Measured(np.array([[24.0, 5.0]]), np.array([[1.03, 0.7]]), np.array([[0.8]]))
    likelihood = BinnedLikelihood(WEAK, data)
    best = best_fit(likelihood)
    gamma, _ = likelihood.background(best)

    def minus_two_ln_l(mu, alpha, gamma):
        # between α = -1 and 1 the scale is 1 + 0.1 α but for terms of third order
        mean = mu * WEAK.total_signal[0] + gamma * (1 + 0.1 * alpha) * WEAK.total_background[0]
        n = data.counts[0]
        pulls = ((gamma - data.gamma[0]) / WEAK.relative_error[0]) ** 2
        return 2 * (mean - n * np.log(mean)).sum() + pulls.sum() + (alpha - data.alpha[0, 0]) ** 2

    at = (*best[0], gamma[0])
    least = minus_two_ln_l(*at)
    for _ in range(200):
        mu, alpha, *off = rng.normal(0, 0.05, 4)
        moved = minus_two_ln_l(at[0] + mu, at[1] + alpha, at[2] + np.array(off))
        assert moved > least - 1e-3 * np.abs([mu, alpha, *off]).max()


def test_gamma_does_not_leave_its_end():
    """Nothing seen where the simulation knows little: γ = 0, not the negative root."""
    poor = model([5.0], [20.0], [0.9], 0.0)
    likelihood = BinnedLikelihood(poor, Measured(*(np.array([[x]]) for x in (0.0, 0.2)), EMPTY))
    gamma, background = likelihood.background(np.array([[1.0]]))
    assert gamma[0, 0] == background[0, 0] == 0
    # 2 s + ((0 - g)/r)²
    assert likelihood.value(np.array([[1.0]]))[0] == pytest.approx(10 + (0.2 / 0.9) ** 2)


# Z of the exact p-value of the median count, background known: P(N >= n | b)
@pytest.mark.parametrize(
    ("s", "b", "median"), [(1, 0.1, 1), (3, 0.1, 3), (5, 1.0, 6), (5, 20.0, 25), (50, 100.0, 150)]
)
def test_counting_with_a_known_background_is_exact(s, b, median):
    toys = merged([draw_on_off((float(s), b), np.inf, 1000, (1, k)) for k in range(20)])
    found = toy_significance(toys)
    exact = exact_significance(np.array([float(median - b)]), np.array([float(b)]))[0]
    assert found.value == pytest.approx(exact, abs=4 * found.error + 1e-9)
    assert found.error < 0.02


def test_weighted_toys_agree_with_plain_ones(rng):
    """From the best fit without signal to the µ = 1 Asimov data, auxiliary measurements drawn."""
    toys = merged([draw_binned(WEAK, 1000, 5, k) for k in range(10)])
    found = toy_significance(toys)
    asimov = BinnedLikelihood(WEAK, WEAK.asimov)
    without = best_fit(asimov, 0.0)
    gamma, background = asimov.background(without)
    number = 10_000
    plain = Measured(
        rng.poisson(background, (number, 2)).astype(float),
        gamma + WEAK.relative_error * rng.normal(size=(number, 2)),
        without[:, 1:] + rng.normal(size=(number, 1)),
    )
    p = float(np.mean(discovery_q(WEAK, plain) >= np.median(toys.q)))
    error = np.hypot(np.sqrt(p * (1 - p) / number), found.p_value_error)
    assert found.p_value == pytest.approx(p, abs=3 * error)


def test_toys_know_sources_with_a_shape():
    """Many events: toys agree with asymptotic formulae, and are far from Z without the source."""
    nominal = np.array([[[20.0, 60.0], [4000.0, 900.0]]])
    tilt = np.zeros((2, 1, 2, 1, 2))
    tilt[:, 0, 1, 0] = [[40.0, -40.0], [-40.0, 40.0]]
    factors = np.ones((2, 1, 2, 1))
    factors[:, 0, 1, 0] = 0.98, 1.02
    tilted = Model(nominal, np.array([True, False]), np.zeros((1, 2)), factors, tilt)
    plain = simple_model(*nominal[0][:, None], np.zeros((1, 2)))
    with_source, without = (float(discovery_significance(m)[0]) for m in (tilted, plain))
    assert with_source < 0.8 * without
    found = toy_significance(merged([draw_binned(tilted, 1000, 2, k) for k in range(10)]))
    assert found.value == pytest.approx(with_source, abs=4 * found.error + 0.02)


def test_blocks_add_up():
    assert blocks(2500) == [1000, 1000, 500]
    assert sum(blocks(999)) == 999


def test_how_many_jobs_draw_toys_changes_nothing(judged, tmp_path):
    for parts in (1, 3):
        files = tuple(tmp_path / f"{parts}_{k}.npz" for k in range(parts))
        for k, file in enumerate(files):
            draw_toys(judged.mlp, judged.workspace, 3300, (k, parts), file)
        merge_toys(judged.mlp, files, 3300, tmp_path / f"{parts}.json")
    assert (tmp_path / "1.json").read_text() == (tmp_path / "3.json").read_text()
    numbers = json.loads((tmp_path / "1.json").read_text())
    asymptotic = json.loads(judged.mlp.read_text())["significance"]
    for estimator in ("counting", "binned"):
        value = asymptotic[estimator]["value"]
        assert numbers[estimator]["value"] == pytest.approx(value, abs=0.15)
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    with pytest.raises(InputError, match=r"broken.json: no workspace of `hepml infer`"):
        draw_toys(judged.mlp, broken, 1000, (0, 1), tmp_path / "no.npz")
    assert not (tmp_path / "no.npz").exists()
    with pytest.raises(InputError, match="hold 3300 toys, expected 5000"):
        merge_toys(judged.mlp, (tmp_path / "1_0.npz",), 5000, tmp_path / "no.json")
    assert not (tmp_path / "no.json").exists()


def test_toys_stand_beside_asymptotic_numbers(judged, tmp_path, trained):
    draw_toys(judged.mlp, judged.workspace, 1000, (0, 1), tmp_path / "toys.npz")
    merge_toys(judged.mlp, (tmp_path / "toys.npz",), 1000, tmp_path / "mlp.json")
    found = json.loads((tmp_path / "mlp.json").read_text())["binned"]
    results = (judged.mlp, judged.cuts)
    compare(results, {"mlp": trained}, tmp_path / "out", 3.0, (tmp_path / "mlp.json",))
    rows = json.loads((tmp_path / "out/comparison.json").read_text())["rows"]
    assert [row["z_binned_toys"] for row in rows] == [None, found["value"]]
    assert "| MLP | " in (tmp_path / "out/comparison.md").read_text().split("toy data sets")[1]
