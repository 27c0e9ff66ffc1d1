"""Systematics from files to numbers: a sample whose variations have known effects."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepml.artifacts import new_folder
from hepml.config import Cut, Systematic
from hepml.data.store import ColumnWriter
from hepml.errors import InputError
from hepml.inference.cautions import of_variations
from hepml.inference.interpolation import Factors
from hepml.inference.metrics import Estimate
from hepml.inference.stage import infer
from hepml.inference.varied import Varied

COUNT = 4000


def write(folder, sample, x, weights):
    """Columns and scores of one sample; the same events whatever x is."""
    label = int(sample == "top")
    columns = {
        "event_id": np.arange(COUNT, dtype=np.uint64),
        "fold": (np.arange(COUNT) % 4).astype(np.int8),
        "label": np.full(COUNT, label, np.int8),
        "x": x.astype(np.float32),
        **weights,
    }
    names = ("x", *(name for name in weights if name != "weight"))
    with new_folder(folder) as made, ColumnWriter(made, names) as writer:
        writer.append(columns)
        writer.finish({"sample": sample})
    table = {"event_id": columns["event_id"], "llr": 1.5 * x - 1.125, "llr_train": 1.5 * x}
    pq.write_table(pa.table(table), folder.with_suffix(".parquet"))


@pytest.fixture
def analysis(tmp_path):
    """50 N(1.5, 1) on 500 N(0, 1); weights 10 % up and down; background's x moved by ±0.1."""
    rng = np.random.default_rng(3)
    data, varied = [], []
    for i, (sample, mean, expected) in enumerate((("top", 1.5, 50.0), ("qcd", 0.0, 500.0))):
        x, weight = rng.normal(mean, 1, COUNT), np.full(COUNT, expected / COUNT)
        tilt = 1 + 0.1 * np.tanh(x)
        weights = {"weight": weight, "weight_tilt_up": weight * tilt}
        weights["weight_tilt_down"] = weight * (2 - tilt)
        weights["weight_same_up"] = weights["weight_same_down"] = weight
        weights |= {"weight_rate_up": 1.25 * weight, "weight_rate_down": 0.75 * weight}
        write(tmp_path / sample, sample, x, weights)
        data.append(tmp_path / sample)
        if sample == "qcd":
            for name, shift in (("up", 0.1), ("down", -0.1)):
                folder = tmp_path / f"qcd_{name}"
                write(folder, sample, x + shift, {"weight": weight})
                varied.append(Varied(f"scale_{name}", i, folder, folder.with_suffix(".parquet")))
    return SimpleNamespace(
        folder=tmp_path,
        data=tuple(data),
        varied=tuple(varied),
        scores=tuple(folder.with_suffix(".parquet") for folder in data),
    )


NORM = Systematic(samples=("qcd",), normalisation=0.2, title="Cross-section")
TILT = Systematic.model_validate({"samples": ("qcd",), "weight": {"up": "u", "down": "d"}})
SCALE = Systematic.model_validate(
    {
        "samples": ("qcd",),
        "objects": {"up": {"scale": "1.01"}, "down": {"scale": "0.99"}},
    }
)


def run(analysis, job, systematics, varied=()):
    job = job.model_copy(update={"systematics": systematics})
    output, workspace = analysis.folder / "out.json", analysis.folder / "workspace.json"
    scores = () if job.cuts else analysis.scores
    infer(job, analysis.data, scores, output, workspace, tuple(varied))
    return json.loads(output.read_text()), json.loads(workspace.read_text())


def test_all_kinds_at_once(analysis, make_job):
    job = make_job(background_uncertainty=0.05)
    systematics = {"xsec": NORM, "tilt": TILT, "scale": SCALE}
    result, workspace = run(analysis, job, systematics, analysis.varied)
    assert result["pyhf"]["agrees"]
    names = {"background_normalisation", *systematics}
    for fit in ("binned", "unbinned"):
        ranking = result["nuisances"][fit]
        assert {impact["name"] for impact in ranking["impacts"]} == names
        assert ranking["z"] == pytest.approx(result["significance"][fit]["value"], rel=2e-3)
        for impact in ranking["impacts"]:
            assert ranking["z"] <= impact["z_with_only_this"] <= ranking["z_without"] + 1e-9
    samples = workspace["channels"][0]["samples"]
    assert [sample["name"] for sample in samples] == ["top", "qcd"]
    kinds = [(m["name"], m["type"]) for m in samples[1]["modifiers"]]
    assert ("xsec", "normsys") in kinds
    assert ("scale", "histosys") in kinds
    assert [m["name"] for m in samples[0]["modifiers"]] == ["mu"]


def test_both_normalisations_are_one(analysis, make_job):
    """A normalisation of the config and one of systematics are the same in the fits.

    Not in counting: selections are chosen with the former alone.
    """
    by_setting, _ = run(analysis, make_job(background_uncertainty=0.2), {})
    by_name, _ = run(analysis, make_job(background_uncertainty=0.0), {"xsec": NORM})
    for name in ("binned", "unbinned"):
        one, other = (r["significance"][name] for r in (by_setting, by_name))
        assert one["value"] == pytest.approx(other["value"], rel=1e-9)
        assert one["error"] == pytest.approx(other["error"], rel=1e-6)
    assert by_name["counting_uncertainty"] == pytest.approx(0.2)


def test_counting_knows_all_sources(analysis, make_job):
    """In quadrature; of the tilt what it does to what passes."""
    cuts = (Cut(variable="x", keep="above"),)
    job = make_job("cuts", cuts, background_uncertainty=0.03)
    result, _ = run(analysis, job, {"xsec": NORM, "tilt": TILT})
    counted = result["nuisances"]["counted"]
    assert counted["xsec"] == {"value": pytest.approx(0.2), "error": 0}
    tilt = counted["tilt"]["value"]
    assert 0.07 < tilt < 0.1  # tanh x beyond x = 1, less than 1
    assert 0 < counted["tilt"]["error"] < 0.1 * tilt  # the same few hundred events, reweighted
    total = np.sqrt(0.03**2 + 0.2**2 + tilt**2)
    assert result["counting_uncertainty"] == pytest.approx(total)


def test_curves_know_all_kinds_of_sources(analysis, make_job):
    job = make_job(background_uncertainty=0.05)
    systematics = {"xsec": NORM, "tilt": TILT, "scale": SCALE}
    result, _ = run(analysis, job, systematics, analysis.varied)
    plain, _ = run(analysis, job, {})
    assert len(result["likelihood"]) == 4
    ranking = result["nuisances"]["unbinned"]
    assert result["likelihood"][0]["sigma"] == pytest.approx(ranking["sigma_mu"], rel=1e-9)
    for curve, known in zip(result["likelihood"], plain["likelihood"], strict=True):
        assert curve["sigma"] > 1.01 * curve["sigma_normalisation_only"]
        assert curve["sigma_normalisation_only"] == pytest.approx(known["sigma"], rel=1e-9)
        assert known["sigma_normalisation_only"] == known["sigma"]
        assert np.interp(1, curve["mu"], curve["t"]) == pytest.approx(0, abs=0.01)
        at = np.interp(known["mu"][-1], curve["mu"], curve["t"])  # which reach further
        assert 1 < at < 0.98 * known["t"][-1]


def test_a_source_that_changes_rates_alone_is_an_uncertain_normalisation(analysis, make_job):
    """By weights of single events, 25 % up and down; the count's threshold is another one."""
    by_setting, _ = run(analysis, make_job(background_uncertainty=0.25), {})
    by_weights, _ = run(analysis, make_job(background_uncertainty=0.0), {"rate": TILT})
    known, _ = run(analysis, make_job(background_uncertainty=0.0), {})
    curves = [r["likelihood"] for r in (by_setting, by_weights, known)]
    for one, other, least in zip(*curves, strict=True):
        if one["estimator"] != "counting":
            for name in ("mu", "t", "sigma"):
                assert one[name] == pytest.approx(other[name], rel=1e-7, abs=1e-9)
        assert other["sigma_normalisation_only"] == pytest.approx(least["sigma"], rel=1e-9)


def test_sigma_by_counting_is_a_closed_form(analysis, make_job):
    """σ² = (s + b)/s² + Σ (b δ/s)²: no source can be told from another in one bin."""
    cuts = (Cut(variable="x", keep="above"),)
    job = make_job("cuts", cuts, background_uncertainty=0.05)
    result, _ = run(analysis, job, {"xsec": NORM, "tilt": TILT})
    s, b = (result["working_point"][name]["yield"] for name in ("signal", "background"))
    relative = {name: x["value"] for name, x in result["nuisances"]["counted"].items()}
    slopes = {
        name: float(Factors(np.array([1 - x]), np.array([1 + x]))(np.zeros(1)).slope[0])
        for name, x in relative.items()
    }
    count = next(c for c in result["likelihood"] if c["estimator"] == "counting")
    of_all = (s + b) / s**2 + sum((b * slope / s) ** 2 for slope in slopes.values())
    assert len(slopes) == 3
    assert count["sigma"] == pytest.approx(of_all**0.5, rel=1e-9)
    of_one = (s + b) / s**2 + (b * slopes["background_normalisation"] / s) ** 2
    assert count["sigma_normalisation_only"] == pytest.approx(of_one**0.5, rel=1e-9)


def test_a_variation_that_does_nothing_is_said(analysis, make_job):
    """Copies that are the nominal sample: nothing to fit, and not silently left out."""
    same = [
        Varied(c.variation, c.sample, analysis.data[1], analysis.scores[1]) for c in analysis.varied
    ]
    result, workspace = run(analysis, make_job(), {"scale": SCALE}, same)
    assert "scale changes nothing that is fitted; if it should" in " ".join(result["warnings"])
    modifiers = workspace["channels"][0]["samples"][1]["modifiers"]
    assert "scale" not in [modifier["name"] for modifier in modifiers]
    result, _ = run(analysis, make_job(), {"scale": SCALE}, analysis.varied)
    assert "changes nothing" not in " ".join(result["warnings"])


def test_variations_by_other_events_are_known_less(analysis, make_job):
    """Event numbers agree in this sample; it is the config that says whether events do."""
    errors = []
    for independent in (False, True):
        objects = {"files": {"qcd": ("other.root",)}, "independent": independent}
        scale = {"samples": ("qcd",), "objects": {"up": objects, "down": objects}}
        source = {"scale": Systematic.model_validate(scale)}
        result, _ = run(analysis, make_job(replicas=100), source, analysis.varied)
        errors.append(result["nuisances"]["counted"]["scale"])
    assert errors[0]["value"] == errors[1]["value"]
    assert errors[1]["error"] > 1.5 * errors[0]["error"]


def test_changes_that_few_events_cannot_show_are_warned_of(make_job):
    job = make_job().model_copy(update={"systematics": {"scale": SCALE, "tilt": TILT}})
    counted = {"scale": Estimate(0.2, 0.12), "tilt": Estimate(0.2, 0.02)}
    (said,) = of_variations(job, counted, 30)
    assert said.startswith("scale changes the counted background by 20% ± 12%: the 30 simulated")
    assert not of_variations(job, {"scale": Estimate(0.2, 0.08)}, 30)
    assert not of_variations(job, {"scale": Estimate(0.01, 0.01)}, 30)


@pytest.mark.parametrize(
    ("systematics", "chosen", "message"),
    [
        ({"scale": SCALE}, slice(0, 1), "no scale_down of qcd among the changed copies"),
        ({}, slice(0, 1), "name no systematic that changes the objects"),
        ({"same": TILT}, slice(0, 0), "the weight of every event is the nominal one"),
        ({"absent": TILT}, slice(0, 0), "no column 'weight_absent_up'"),
        ({"background_normalisation": NORM}, slice(0, 0), "are the same; set the latter to 0"),
    ],
)
def test_what_does_not_fit_together(analysis, make_job, systematics, chosen, message):
    with pytest.raises(InputError, match=message):
        run(analysis, make_job(), systematics, analysis.varied[chosen])
    assert not (analysis.folder / "out.json").exists()


def test_a_variation_that_empties_a_bin_is_named(analysis, make_job):
    rng = np.random.default_rng(4)
    for copy in analysis.varied:
        write(
            copy.data.with_name(f"{copy.data.name}_far"),
            "qcd",
            rng.normal(-9, 0.1, COUNT),
            {"weight": np.full(COUNT, 500 / COUNT)},
        )
    far = [
        Varied(c.variation, c.sample, c.data.with_name(f"{c.data.name}_far"), c.scores)
        for c in analysis.varied
    ]
    far = [Varied(c.variation, c.sample, c.data, c.data.with_suffix(".parquet")) for c in far]
    with pytest.raises(InputError, match=r"systematics.scale, down: background of 0 events in bin"):
        run(analysis, make_job(), {"scale": SCALE}, far)
