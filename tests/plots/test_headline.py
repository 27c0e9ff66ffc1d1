import numpy as np
import pytest

from hepml.config import Cut, Inference, InferenceJob
from hepml.inference.comparison import compared
from hepml.inference.events import Events
from hepml.inference.methods import evaluate
from hepml.plots.headline import answer


def row(method, z, gain=None, error=None, factor=None):
    return {
        "method": method,
        "title": method.upper(),
        "z_binned": z + 0.2,
        "z_binned_error": 0.1,
        "delta_z_binned": None if gain is None else gain + 0.3,
        "delta_z_binned_error": error,
        "z_counting": z,
        "z_counting_error": 0.1,
        "delta_z_counting": gain,
        "delta_z_counting_error": error,
        "luminosity_factor": factor,
    }


def told(*rows):
    return answer({"rows": [row("cuts", 2.0), *rows], "baseline": "cuts"}, 300.0)


def test_a_gain_is_told_with_its_paired_error_and_the_data_it_saves():
    found = told(row("mlp", 2.5, 0.5, 0.1, 1.5625))
    assert found.verdict == "A network gains: ΔZ = +0.50 ± 0.10"
    text = " ".join(found.sentences)
    assert "Z = 2.00 ± 0.10" in text
    assert "5.0 times its error" in text
    assert "would need 1.56 times the luminosity" in text


def test_cuts_that_systematic_uncertainties_stop_are_said_to_be_stopped():
    assert "Not even 10\u202f000 times the luminosity" in " ".join(
        told(row("mlp", 2.5, 0.5, 0.1, None)).sentences
    )


@pytest.mark.parametrize("gain", [0.19, -0.19])
def test_less_than_two_standard_errors_is_no_gain(gain):
    found = told(row("mlp", 2.0 + gain, gain, 0.1, 1.2))
    assert found.verdict.startswith("No significant gain")
    assert "times the luminosity" not in " ".join(found.sentences)
    assert "compatible with no gain" in " ".join(found.sentences)


def test_networks_that_lose_are_said_to_lose():
    assert told(row("mlp", 1.5, -0.5, 0.1)).verdict == "The cuts do better: ΔZ = −0.50 ± 0.10"


def test_the_best_of_several_is_named_and_the_choice_admitted():
    found = told(row("mlp", 2.5, 0.5, 0.1), row("cnn", 2.9, 0.9, 0.1), row("set", 2.1, 0.1, 0.1))
    text = " ".join(found.sentences)
    assert "CNN, expects Z = 2.90 ± 0.10" in text
    assert "best of 3 networks" in text


def test_a_difference_without_error_is_not_judged():
    found = told(row("mlp", 2.5, 0.5, None))
    assert found.verdict == "A difference of unknown error"
    assert "nothing can be said" in " ".join(found.sentences)


def test_cuts_alone_have_no_gain():
    found = told()
    assert found.verdict == "No network to compare with"
    assert "Z = 2.00 ± 0.10, by counting the events they keep" in found.sentences[0]


def test_what_the_shape_adds_is_told_but_not_judged():
    found = told(row("mlp", 2.0, 0.01, 0.1, 1.01))
    assert found.verdict.startswith("No significant gain")
    text = " ".join(found.sentences)
    assert "shape of its score adds, in a fit to bins of it, ΔZ = +0.31 ± 0.10" in text
    assert "not like for like" in text


def test_a_score_that_is_the_cut_variable_gains_nothing():
    """More bins are not a better score: docs/decisions/0005."""
    signal = np.arange(6000) % 2 == 0
    weight = np.where(signal, 50 / 3000, 500 / 3000)
    events = Events(np.arange(6000, dtype=np.uint64), np.arange(6000) // 2 % 4, signal, weight, 4)
    score = np.random.default_rng(20240607).normal(1.5 * signal, 1)[None]
    settings = Inference(background_uncertainty=0.1, replicas=20, bins=10)
    cuts, network = (
        evaluate(
            InferenceJob(method=name, title=name, cuts=cut, inference=settings, folds=4, seed=11),
            score,
            events,
        )[0]
        for name, cut in (("cuts", (Cut(variable="llr", keep="above"),)), ("mlp", ()))
    )
    comparison = compared([cuts, network], {})
    content = {"rows": [vars(row) for row in comparison.rows], "baseline": comparison.baseline}
    found = content["rows"][1]
    assert (found["p_ratio"], found["extra_data"]) == (pytest.approx(1), pytest.approx(0, abs=1e-9))
    assert found["luminosity_factor"] == pytest.approx(1)
    assert found["delta_z_binned"] > 3 * found["delta_z_binned_error"]  # the bins' doing
    assert answer(content, 300.0).verdict == "No gain: ΔZ = 0"
    kept = [result.rejection["0.5"] for result in (cuts, network)]
    assert kept[0].value == pytest.approx(kept[1].value, rel=0.1)
