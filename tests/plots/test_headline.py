import pytest

from hepml.plots.headline import answer


def row(method, z, gain=None, error=None, factor=None):
    return {
        "method": method,
        "title": method.upper(),
        "z_binned": z,
        "z_binned_error": 0.1,
        "delta_z_binned": gain,
        "delta_z_binned_error": error,
        "z_counting": z - 0.2,
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
    assert "no luminosity" in " ".join(told(row("mlp", 2.5, 0.5, 0.1, None)).sentences)


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
    assert "Z = 2.00 ± 0.10, by the binned fit" in found.sentences[0]


def test_counting_is_used_where_nothing_was_fitted():
    network = row("mlp", 2.5, 0.5, 0.1) | {"z_binned": None, "delta_z_binned": None}
    found = told(network)
    assert "by counting events beyond one threshold" in found.sentences[0]
    assert "Z = 2.30 ± 0.10" in found.sentences[1]
