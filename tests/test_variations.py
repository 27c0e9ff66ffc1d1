"""Systematics of a config, and the jobs that they ask for."""

import copy
import json

import pytest

from hepml.config import DataJob, InferenceJob, VariationJob
from hepml.configfile import analysis, data_jobs, parse
from hepml.errors import InputError
from hepml.files import files_of
from hepml.jobs import data_job, data_settings, inference_job
from hepml.variations import (
    measured_again,
    variation_job,
    varied_copies,
    varied_job,
    weighted_job,
    weighted_samples,
)

GOOD = {
    "analysis": "mine",
    "title": "Mine",
    "luminosity": 1,
    "seed": 1,
    "samples": {
        "s": {"role": "signal", "process": "top", "events": 100},
        "b": {"role": "background", "files": ["b.root"], "cross_section": 1},
        "obs": {"role": "data", "files": ["data.root"]},
    },
    "data": {"schema": "simulation", "variables": {"pt": "jet_pt"}},
    "cuts": [{"variable": "pt", "keep": "above"}],
    "models": {"mlp": {"architecture": "mlp", "features": ["pt"]}},
    "inference": {"background_uncertainty": 0.1},
    "systematics": {
        "lumi": {"normalisation": "1e-2"},
        "theory": {"normalisation": [-0.08, 0.12], "samples": ["b"]},
        "btag": {"weight": {"up": "1.1", "down": 0.9}, "samples": ["b"]},
        "jes": {"objects": {"up": {"scale": 1.01}, "down": {"scale": 0.99}}},
        "tracks": {
            "objects": {"up": {"drop": 0.1, "branches": {"jet_pt": "jet_pt * 0.9"}}},
            "one_sided": True,
        },
        "shower": {
            "objects": {
                "up": {"files": {"b": ["up.root"]}},
                "down": {"files": {"b": ["down.root"]}},
            },
            "samples": ["b"],
        },
    },
}


@pytest.fixture(name="config")
def _config():
    return copy.deepcopy(GOOD)


@pytest.fixture(name="settings")
def _settings(config):
    return analysis(config, "a.yaml")


def test_normalisations_are_pairs_of_down_and_up(settings):
    assert settings.systematics["lumi"].normalisation == (-0.01, 0.01)
    assert settings.systematics["theory"].normalisation == (-0.08, 0.12)
    text = inference_job(settings, "mlp").model_dump_json()
    assert parse(InferenceJob, text, "job").systematics["theory"].normalisation == (-0.08, 0.12)


def test_copies_are_made_of_the_samples_concerned_only(settings):
    assert list(varied_copies(settings)) == [
        ("jes_up", "s"),
        ("jes_up", "b"),
        ("jes_down", "s"),
        ("jes_down", "b"),
        ("tracks_up", "s"),
        ("tracks_up", "b"),
        ("shower_up", "b"),
        ("shower_down", "b"),
    ]
    assert weighted_samples(settings) == ["b"]


def test_the_inference_knows_the_samples_that_each_concerns(settings):
    systematics = inference_job(settings, "cuts").systematics
    assert {name: s.samples for name, s in systematics.items()} == {
        **dict.fromkeys(("lumi", "jes", "tracks"), ("s", "b")),  # nothing varies data
        **dict.fromkeys(("theory", "btag", "shower"), ("b",)),
    }


def test_no_systematic_is_in_the_settings_of_nominal_columns(config, settings):
    del config["systematics"]
    without = analysis(config, "a.yaml")
    for name in ("s", "b", "obs"):
        assert data_settings(data_job(settings, name)) == data_settings(data_job(without, name))


def test_simulated_jets_are_measured_again_and_others_changed_at_the_data_stage(settings):
    assert measured_again(settings, "s", "jes_up")
    assert not measured_again(settings, "b", "jes_up")
    assert varied_job(settings, "s", "jes_up").variation is None
    assert varied_job(settings, "b", "jes_up").variation.objects.scale == "1.01"
    # branches are replaced by the data stage in any case
    left = varied_job(settings, "s", "tracks_up").variation.objects
    assert (left.drop, left.branches) == (None, {"jet_pt": "jet_pt * 0.9"})
    done = variation_job(settings, "tracks_up").variation.objects
    assert (done.drop, done.branches) == ("0.1", {})


def test_varied_files_take_the_place_of_the_samples_own(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "up.root").touch()
    job = varied_job(settings, "b", "shower_up")
    assert files_of(job) == ["up.root"]
    with pytest.raises(InputError, match=r"systematics.shower.objects.down.files.b: no file match"):
        files_of(varied_job(settings, "b", "shower_down"))


def test_jobs_survive_the_command_line(settings):
    for variation, sample in varied_copies(settings):
        job = varied_job(settings, sample, variation)
        assert parse(DataJob, data_settings(job), "job").variation == job.variation
        if measured_again(settings, sample, variation):
            changes = variation_job(settings, variation)
            assert parse(VariationJob, changes.model_dump_json(), "job") == changes
    weighted = weighted_job(settings, "b")
    assert parse(DataJob, data_settings(weighted), "job").weights == weighted.weights
    assert weighted.weights["btag"].down == "0.9"


def test_long_lists_of_varied_files_stay_out_of_command_lines(config):
    files = {"b": [f"{i}.root" for i in range(9999)]}
    config["systematics"]["shower"]["objects"]["up"]["files"] = files
    settings = analysis(config, "a.yaml")
    job = varied_job(settings, "b", "shower_up")
    for text in (data_settings(job), inference_job(settings, "mlp").model_dump_json()):
        assert "and 9998 more" in text
        assert len(text) < 9999


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x", {}, "systematics.x: give exactly one of normalisation, weight, objects (got none"),
        ("x", {"normalisation": 0.1, "weight": {"up": 1, "down": 1}}, "(got normalisation and wei"),
        ("x", {"normalisation": [0.1, 0.2]}, "x: normalisation: expected relative changes down in"),
        ("x", {"normalisation": 1}, "relative changes down in (-1, 0] and up ≥ 0"),
        ("x", {"normalisation": 0}, "relative changes"),
        ("x", {"normalisation": "much"}, "systematics.x.normalisation: "),
        ("x", {"normalisation": 0.1, "one_sided": True}, "remove one_sided"),
        ("x", {"weight": {"up": "1.1"}}, "weight: up without down; give down, or one_sided: true"),
        ("x", {"weight": {"down": "1.1"}}, "systematics.x.weight.up: this key is required"),
        ("x", {"objects": {"up": {"scale": 2}}}, "objects: up without down"),
        ("x", {"objects": {"up": {}}, "one_sided": True}, "x.objects.up: changes nothing; give"),
        (
            "x",
            {"objects": {"up": {"scale": "1.1", "independent": True}}, "one_sided": True},
            "x.objects.up: independent: only files can hold other events",
        ),
        ("x", {"weight": {"up": 1, "down": 1}, "one_sided": True}, "weight.down: one_sided is"),
        ("x", {"normalisation": 0.1, "samples": ["sig", "obs"]},
         "systematics.x.samples: no sample 'sig' (nearest: s); systematics.x.samples: obs is data"),
        ("x", {"normalisation": 0.1, "sampels": ["s"]}, "x.sampels: unknown key; did you mean 'sa"),
        ("x.y", {"normalisation": 0.1}, "a name is a letter, then letters, digits and _"),
        ("x", {"objects": {"up": {"files": {"b": ["u.root"]}}}, "one_sided": True},
         "systematics.x.objects.up.files: none for s; give them, or list the samples concerned in "
         "systematics.x.samples"),
        ("x", {"objects": {"up": {"files": {"b": ["u.root"], "c": ["c.root"]}}}, "one_sided": True,
               "samples": ["b"]}, "systematics.x.objects.up.files: c is no sample that x concerns"),
    ],
)  # fmt: skip
def test_wrong_systematics_are_named(config, name, content, message):
    config["systematics"] = {name: content}
    with pytest.raises(InputError) as caught:
        analysis(config, "a.yaml")
    assert message in str(caught.value)


def test_variables_and_varied_weights_do_not_share_a_name(config):
    config["data"]["variables"]["weight_btag_up"] = "1"
    with pytest.raises(InputError, match=r"systematics.btag stores columns weight_btag_up; rename"):
        analysis(config, "a.yaml")


def test_check_goes_through_every_copy(config, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(json.dumps(config))
    jobs, problems = data_jobs(path)
    assert problems == []
    assert len(jobs) == 3 + 1 + 8  # samples, one with weights, copies
