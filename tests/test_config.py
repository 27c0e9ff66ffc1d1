import copy
import json

import pytest

from hepml.config import Analysis, Data, Particles, Sample, TrainingJob, inputs_of
from hepml.configfile import analysis, parse
from hepml.errors import InputError

GOOD = {
    "analysis": "mine",
    "title": "Mine",
    "luminosity": 1,
    "seed": 1,
    "samples": {
        "s": {"role": "signal", "files": ["s.root"], "cross_section": 1},
        "b": {"role": "background", "files": ["b.root"], "cross_section": 1},
    },
    "data": {"schema": "jetclass", "variables": {"pt": "jet_pt"}},
    "cuts": [{"variable": "pt", "keep": "above"}],
    "models": {"mlp": {"architecture": "mlp", "features": ["pt"]}},
    "inference": {"background_uncertainty": 0.1},
}


@pytest.fixture(name="config")
def _config():
    return copy.deepcopy(GOOD)


def refused(model, content):
    with pytest.raises(InputError) as caught:
        parse(model, json.dumps(content), "a.yaml")
    return str(caught.value)


def test_the_smallest_analysis_is_accepted(config):
    assert analysis(config, "a.yaml").folds == 5


@pytest.mark.parametrize(
    "key", ["analysis", "title", "luminosity", "seed", "data", "cuts", "inference"]
)
def test_what_must_be_decided_has_no_default(config, key):
    del config[key]
    assert f"a.yaml: {key}: this key is required" in refused(Analysis, config)


def test_all_mistakes_are_listed_at_once(config):
    config["luminosity"] = "much"
    config["samples"]["s"]["rolle"] = "signal"
    config["models"]["mlp"]["hidden"] = 3
    lines = refused(Analysis, config).splitlines()
    assert [line.split(": ")[1] for line in lines] == [
        "luminosity",
        "samples.s.rolle",
        "models.mlp.hidden",
    ]
    assert lines[1].endswith("unknown key; did you mean 'role'?")


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"tre": "x"}, "a.yaml: schema.tre: unknown key; did you mean 'tree'?"),
        (3, "a.yaml: schema: Input should be a valid string (got 3)"),
        (
            {"branches": {"a": {"expression": "x", "unit": "eV"}}},
            "a.yaml: schema.branches.a.unit: Input should be 'MeV', 'GeV' or 'TeV' (got 'eV')",
        ),
    ],
)
def test_messages_do_not_show_the_forms_that_were_tried(schema, message):
    assert refused(Data, {"schema": schema, "variables": {"a": "a"}}) == message


@pytest.mark.parametrize("name", ["../../etc", "a/b", "a.b", "", "-rf", "a b", "..", "1a"])
def test_names_cannot_leave_the_results_folder(config, name):
    config["samples"][name] = config["samples"]["s"]
    assert "a name is a letter, then letters, digits and _" in refused(Analysis, config)
    config = copy.deepcopy(GOOD) | {"analysis": name}
    assert "a.yaml: analysis: a name is a letter" in refused(Analysis, config)


@pytest.mark.parametrize("name", ["weight", "event_id", "particles", "offsets", "llr"])
def test_names_of_our_own_columns_are_taken(config, name):
    config["data"]["variables"][name] = "jet_pt"
    assert f"data.variables.{name}: every sample has a column" in refused(Analysis, config)


def test_unknown_variables_are_named_with_the_nearest(config):
    config["cuts"][0]["variable"] = "ptt"
    assert "cuts[0].variable: no variable 'ptt' in data.variables (nearest: pt)" in refused(
        Analysis, config
    )


def test_networks_on_particles_need_particles(config):
    architectures = ("cnn", "particle_transformer")
    config["models"] |= {name: {"architecture": name} for name in architectures}
    models = analysis(config, "a.yaml").models
    assert [inputs_of(model) for model in models.values()] == ["features", "images", "sets"]
    config["data"]["particles"] = False
    said = refused(Analysis, config)
    assert "models.mlp" not in said
    for name in architectures:
        assert f"models.{name}: reads particles; set data.particles: true" in said


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        ({"files": ["a"]}, "give either role or label"),
        ({"files": ["a"], "role": "data", "label": "x"}, "give either role or label"),
        ({"role": "signal"}, "give either files or process"),
        ({"role": "signal", "process": "top"}, "process and events go together"),
        (
            {"role": "signal", "files": ["a"], "cross_section": 1, "expected_events": 1},
            "give cross_section or expected_events, not both",
        ),
        ({"role": "signal", "files": ["a"], "cross_section": -1}, "greater than 0"),
        ({"role": "signal", "files": ["a"], "sum_of_weights": 0}, "greater than 0"),
        ({"role": "signal", "files": "a.root"}, "should be a list"),
    ],
)
def test_samples_that_contradict_themselves(sample, message):
    assert message in refused(Sample, sample)


@pytest.mark.parametrize("keys", [{"px": "a"}, {"px": "a", "py": "b", "pz": "c", "pt": "d"}, {}])
def test_particles_have_one_coordinate_system(keys):
    assert "give either px, py, pz or pt, eta, phi" in refused(Particles, keys)


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("2", 2), (3, 3)])
def test_numbers_that_yaml_reads_as_text(config, text, value):
    config["luminosity"] = text
    assert analysis(config, "a.yaml").luminosity == value


def test_a_number_is_an_expression():
    sample = parse(Sample, '{"role": "signal", "files": ["a"], "weight": 1, "scale": 0.5}', "a")
    assert (sample.weight, sample.scale) == ("1", "0.5")


def test_signal_and_background_are_needed(config):
    config["samples"]["b"]["role"] = "signal"
    assert "samples: none has the role background" in refused(Analysis, config)


def interfering(config, **changes):
    """With a sample of signal and background together."""
    together = {"role": "sbi", "files": ["t.root"], "expected_events": 10} | changes
    return config | {"samples": config["samples"] | {"together": together}}


def test_samples_of_sbi_are_compared_with_nothing_and_varied_by_nothing(config):
    settings = analysis(interfering(config), "a.yaml")
    assert settings.interfering == ["together"]
    assert "together" not in settings.compared
    settings = analysis(
        interfering(config) | {"systematics": {"norm": {"normalisation": 0.1}}}, "a.yaml"
    )
    assert "together" not in settings.concerned(settings.systematics["norm"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"systematics": {"norm": {"normalisation": 0.1, "samples": ["together"]}}},
            "systematics.norm.samples: together has role sbi.*take it out",
        ),
        ({"interference": {"largest_mu": 0.5}}, "interference.largest_mu.*greater than 1"),
        ({"interference": {"toy": 3}}, "interference.toy.*toys"),
    ],
)
def test_interference_that_cannot_be_fitted(config, changes, message):
    with pytest.raises(InputError, match=f"(?s){message}"):
        analysis(interfering(config) | changes, "a.yaml")


def test_toys_of_sbi_belong_to_the_toy_that_interferes(config):
    process = {"files": [], "process": "toy_sbi", "events": 10}
    with pytest.raises(InputError, match=r"samples.together.process: toy_sbi is of simulation.toy"):
        analysis(interfering(config, **process), "a.yaml")


def test_sbi_needs_signal_and_background_by_roles(config):
    config["samples"] = {"mixed": {"label": "x > 0", "files": ["a.root"]}}
    with pytest.raises(InputError, match="beside a sample of role sbi, give signal and background"):
        analysis(interfering(config), "a.yaml")


def test_settings_do_not_change(config):
    settings = analysis(config, "a.yaml")
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 2


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("simulation", {"jet_pt": [650, 550]}, "jet_pt: expected \\[low, high\\]"),
        ("inference", {"background_uncertainty": 1.5}, "less than 1"),
        ("folds", 200, "less than or equal to 100"),
    ],
)
def test_impossible_numbers_are_refused_before_anything_runs(config, key, value, message):
    with pytest.raises(InputError, match=message):
        analysis(config | {key: value}, "a.yaml")


def test_one_name_for_one_step_of_the_selection(config):
    config["data"]["selection"] = {"hard": "pt > 1"}
    config["samples"]["b"]["selection"] = {"hard": "pt > 2"}
    with pytest.raises(InputError, match=r"samples.b.selection: hard is a step of data.selection"):
        analysis(config, "a.yaml")


def test_data_are_not_scaled(config):
    config["samples"]["d"] = {"role": "data", "files": ["d.root"], "scale": "2"}
    with pytest.raises(InputError, match="data are not scaled; remove scale"):
        analysis(config, "a.yaml")


OWN = {"factory": "my.py:build", "inputs": "features", "features": ["pt"]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"factory": "my.py"}, "models.x.factory: expected file.py:function or module:function"),
        ({"factory": "my.py:a b"}, "models.x.factory: expected file.py:function"),
        ({"factory": 3}, "models.x.factory: Input should be a valid string (got 3)"),
        ({"inputs": "imges"}, "models.x: give architecture: mlp, cnn or particle_transformer; or "),
        ({"inputs": "imges"}, "(got factory: my.py:build, inputs: imges)"),
        ({"features": ["ptt"]}, "models.x.features: no variable 'ptt' in data.variables (nearest"),
        ({"maximum": 3}, "models.x.maximum: unknown key"),
        ({"architecture": "mlp"}, "models.x.factory: unknown key"),
        ({"options": {"features": 3}}, "models.x: options: features follows from inputs"),
        ({"options": {"a b": 3}}, "a name is a letter"),
        ({"training": {"epoch": 3}}, "models.x.training.epoch: unknown key; did you mean 'epochs'"),
    ],
)
def test_own_networks_that_contradict_themselves(config, changes, message):
    config["models"]["x"] = OWN | changes
    assert message in refused(Analysis, config)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ({"architecture": "mpl"}, "models.x: give architecture: mlp, cnn or particle_transformer"),
        ({"architecture": "mpl"}, "(got architecture: mpl)"),
        ({"features": ["pt"]}, "(got none of them)"),
        ({"architecture": "cnn", "widht": 3}, "models.x.widht: unknown key; did you mean 'width'?"),
        (3, "models.x: give architecture"),
    ],
)
def test_networks_that_do_not_exist(config, network, message):
    config["models"]["x"] = network
    assert message in refused(Analysis, config)


def test_own_networks_on_particles_need_them(config):
    for inputs in ("sets", "images"):
        config["models"][inputs] = {"factory": "my:build", "inputs": inputs}
    assert analysis(config, "a.yaml").models["sets"].maximum == 128
    config["data"]["particles"] = False
    message = refused(Analysis, config)
    assert "models.sets: reads particles" in message
    assert "models.images: reads particles" in message


def test_options_are_what_yaml_means(config):
    options = {"rate": "1e-3", "sizes": ["2E2", "x", 3], "name": "1e", "deep": True, "none": None}
    config["models"]["x"] = OWN | {"options": options}
    settings = analysis(config, "a.yaml").models["x"]
    assert settings.options == options | {"rate": 1e-3, "sizes": [200.0, "x", 3]}
    job = TrainingJob(model=settings, folds=5, seed=1)
    assert parse(TrainingJob, job.model_dump_json(), "job") == job
