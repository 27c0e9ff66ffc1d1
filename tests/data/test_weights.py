import pytest

from hepml.config import Runs, Sample, Schema
from hepml.data.weights import Generated, check_normalisation, normalisation
from hepml.errors import InputError


def sample(**keys):
    return Sample(**{"role": "signal", "files": ("a.root",)} | keys)


def test_yield_is_luminosity_times_cross_section():
    # 0.5 fb⁻¹ x 2 pb = 1000 events, from a sum of weights of 50
    generated = Generated(sum_of_weights=50.0)
    assert normalisation("top", sample(cross_section=2), 0.5, generated) == pytest.approx(20)


def test_a_fixed_yield_ignores_the_luminosity():
    generated = Generated(sum_of_weights=50.0)
    for luminosity in (0.5, 300.0):
        assert normalisation("top", sample(expected_events=100), luminosity, generated) == 2


def test_data_count_as_they_are():
    assert normalisation("run2", sample(role="data"), 0.5, Generated()) == 1


def test_the_sum_before_a_skim_wins():
    skimmed = sample(cross_section=2, sum_of_weights=500)
    assert normalisation("top", skimmed, 0.5, Generated(sum_of_weights=50.0)) == pytest.approx(2)


@pytest.mark.parametrize("total", [0.0, -3.0, float("nan")])
def test_weights_that_cannot_be_normalised_are_refused(total):
    with pytest.raises(InputError, match=r"samples.top: the generator weights .* sum up to"):
        normalisation("top", sample(cross_section=2), 0.5, Generated(sum_of_weights=total))


def test_a_missing_cross_section_is_named():
    (problem,) = check_normalisation("top", sample(), Schema())
    assert problem.startswith("samples.top: no cross-section; give cross_section [pb]")
    assert check_normalisation("run2", sample(role="data"), Schema()) == []


def test_a_weight_that_is_not_the_one_summed_up_is_refused():
    schema = Schema(weight="genWeight", runs=Runs(tree="Runs", sum_of_weights="genEventSumw"))
    (problem,) = check_normalisation("top", sample(cross_section=1, weight="1"), schema)
    assert "samples.top.weight: replaces 'genWeight', of which tree 'Runs' holds the sum" in problem
    told = sample(cross_section=1, weight="1", sum_of_weights=5)
    assert check_normalisation("top", told, schema) == []
