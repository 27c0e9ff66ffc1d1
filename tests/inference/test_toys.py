"""Significances from toys, against exact ones, pyhf-like closed forms and plain toys."""

import json

import numpy as np
import pytest

from hepml.errors import InputError
from hepml.inference.counting import exact_significance
from hepml.inference.stage import compare
from hepml.inference.toys.fits import ToyData, ToyModel, asimov_toy, discovery_q, fit_toys
from hepml.inference.toys.significance import (
    blocks,
    draw_binned,
    draw_on_off,
    merged,
    toy_significance,
)
from hepml.inference.toys.stage import draw_toys, merge_toys


def model(s, b, r, uncertainty):
    return ToyModel(*(np.array(x, float) for x in (s, b, r)), uncertainty)


WEAK = model([1, 2], [20, 2], [0.05, 0.2], 0.1)


def test_asimov_data_have_the_significance_of_pyhf():
    """pyhf with staterror and normsys of 10 %: 3.527258."""
    four = model([1, 5, 12, 20], [1000, 300, 80, 15], [20 / 1000, 9 / 300, 5 / 80, 3 / 15], 0.1)
    assert discovery_q(four, asimov_toy(four, 1.0))[0] ** 0.5 == pytest.approx(3.527258, rel=1e-6)
    best = fit_toys(four, asimov_toy(four, 2.0))
    assert best.mu[0] == pytest.approx(2, abs=1e-4)
    assert best.value[0] == pytest.approx(0, abs=1e-8)


def test_fits_are_minima_of_a_likelihood_written_out(rng):
    """No direction in µ, α and every γ lowers -2 ln L, auxiliary measurements moved as well."""
    data = ToyData(np.array([[24.0, 5.0]]), np.array([[1.03, 0.7]]), np.array([0.8]))
    fit = fit_toys(WEAK, data)

    def minus_two_ln_l(mu, alpha, gamma):
        mean = mu * WEAK.signal + gamma * (1.1 if alpha > 1 else 1) * WEAK.background
        # between α = -1 and 1 the scale is 1 + 0.1 α but for terms of third order
        mean = mu * WEAK.signal + gamma * (1 + 0.1 * alpha) * WEAK.background
        n = data.counts[0]
        pulls = ((gamma - data.gamma[0]) / WEAK.relative_error) ** 2
        return 2 * (mean - n * np.log(mean)).sum() + pulls.sum() + (alpha - data.alpha[0]) ** 2

    at = (fit.mu[0], fit.alpha[0], fit.gamma[0])
    least = minus_two_ln_l(*at)
    for _ in range(200):
        mu, alpha, *gamma = rng.normal(0, 0.05, 4)
        moved = minus_two_ln_l(at[0] + mu, at[1] + alpha, at[2] + np.array(gamma))
        assert moved > least - 1e-3 * np.abs([mu, alpha, *gamma]).max()


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
    without = fit_toys(WEAK, asimov_toy(WEAK, 1.0), 0.0)
    scale = 1 + 0.1 * without.alpha[0]  # to 1e-4 for |α| < 1
    number = 10_000
    plain = ToyData(
        rng.poisson(without.gamma * scale * WEAK.background, (number, 2)).astype(float),
        without.gamma + WEAK.relative_error * rng.normal(size=(number, 2)),
        without.alpha + rng.normal(size=number),
    )
    p = float(np.mean(discovery_q(WEAK, plain) >= np.median(toys.q)))
    error = np.hypot(np.sqrt(p * (1 - p) / number), found.p_value_error)
    assert found.p_value == pytest.approx(p, abs=3 * error)


def test_blocks_add_up():
    assert blocks(2500) == [1000, 1000, 500]
    assert sum(blocks(999)) == 999


def test_how_many_jobs_draw_toys_changes_nothing(judged, tmp_path):
    for parts in (1, 3):
        files = tuple(tmp_path / f"{parts}_{k}.npz" for k in range(parts))
        for k, file in enumerate(files):
            draw_toys(judged.mlp, 3300, (k, parts), file)
        merge_toys(judged.mlp, files, 3300, tmp_path / f"{parts}.json")
    assert (tmp_path / "1.json").read_text() == (tmp_path / "3.json").read_text()
    numbers = json.loads((tmp_path / "1.json").read_text())
    asymptotic = json.loads(judged.mlp.read_text())["significance"]
    for estimator in ("counting", "binned"):
        value = asymptotic[estimator]["value"]
        assert numbers[estimator]["value"] == pytest.approx(value, abs=0.15)
    with pytest.raises(InputError, match="hold 3300 toys, expected 5000"):
        merge_toys(judged.mlp, (tmp_path / "1_0.npz",), 5000, tmp_path / "no.json")
    assert not (tmp_path / "no.json").exists()


def test_toys_stand_beside_asymptotic_numbers(judged, tmp_path, trained):
    draw_toys(judged.mlp, 1000, (0, 1), tmp_path / "toys.npz")
    merge_toys(judged.mlp, (tmp_path / "toys.npz",), 1000, tmp_path / "mlp.json")
    found = json.loads((tmp_path / "mlp.json").read_text())["binned"]
    results = (judged.mlp, judged.cuts)
    compare(results, {"mlp": trained}, tmp_path / "out", 3.0, (tmp_path / "mlp.json",))
    rows = json.loads((tmp_path / "out/comparison.json").read_text())["rows"]
    assert [row["z_binned_toys"] for row in rows] == [None, found["value"]]
    assert "| MLP | " in (tmp_path / "out/comparison.md").read_text().split("toy data sets")[1]
