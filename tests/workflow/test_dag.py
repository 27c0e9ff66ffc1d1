"""The shape of the DAG, without running it."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("config", "networks", "folds"),
    [("config", 2, 4), ("full", 3, 5), ("quick", 1, 3), ("oracle", 1, 5), ("oracle_jets", 3, 5)],
)
def test_every_shipped_config_plans_completely(workflow, config, networks, folds):
    jobs = workflow.rerun("--configfile", f"config/{config}.yaml")
    assert jobs["report"] == jobs["compare"] == jobs["provenance"] == 1
    assert jobs["infer"] == networks + 1  # and the cuts
    assert jobs["train"] == networks * folds
    sculpting = config == "config"  # the cuts too are asked what they do to a variable
    assert jobs["diagnose"] == networks + sculpting
    assert jobs["plot_diagnostics"] == networks + (networks + 1) * sculpting


def test_networks_of_an_ensemble_are_jobs_of_their_own(workflow):
    network = {"architecture": "mlp", "features": ["jet_pt"]}
    models = {"mlp": network | {"ensemble": 4}, "single": network}
    config = workflow.config("quick", analysis="many", folds=3, models=None)
    text = config.read_text().replace("models: null", f"models: {models}")
    config.write_text(text)
    jobs = workflow.rerun("--configfile", config)
    assert jobs["train_member"] == 4 * 3
    assert jobs["ensemble"] == jobs["train"] == 3
    assert jobs["score"] == 4


def test_networks_are_explained_by_what_they_read(workflow):
    models = {"image": {"architecture": "cnn"}, "set": {"architecture": "particle_transformer"}}
    config = workflow.config("quick", analysis="seen", models=models, data={"particles": True})
    jobs = workflow.rerun("--configfile", config)
    assert jobs["plot_training"] == 3
    assert jobs["plot_images"] == jobs["plot_saliency"] == jobs["plot_importance"] == 1
    assert "plot_images" not in workflow.rerun("--configfile", "config/quick.yaml")


def test_changed_copies_are_planned_for_the_samples_concerned(workflow):
    systematics = {
        "scale": {"objects": {"up": {"scale": 1.01}, "down": {"scale": 0.99}}},
        "tracks": {"objects": {"up": {"drop": 0.1}}, "one_sided": True, "samples": ["qcd"]},
        "btag": {"weight": {"up": 1.1, "down": 0.9}, "samples": ["top"]},
        "rate": {"normalisation": 0.2, "samples": ["qcd"]},
    }
    nominal = workflow.rerun("--configfile", "config/quick.yaml")
    config = workflow.config("quick", analysis="varied", systematics=None)
    config.write_text(
        config.read_text().replace("systematics: null", f"systematics: {systematics}")
    )
    jobs = workflow.rerun("--configfile", config)
    # 2 files of top and 4 of qcd, up and down; the tracks of qcd alone, up
    assert jobs.pop("vary") == 2 * (2 + 4) + 4
    assert jobs.pop("data_varied") == jobs.pop("score_varied") == 2 * 2 + 1
    assert jobs.pop("data_weights") == 1
    assert (jobs.pop("total", 0), jobs) == (nominal.pop("total", 0), nominal)
    printed = workflow.run("-n", "-p", "--configfile", config)
    for expected in (
        "hepml infer results/varied/data/top.weights results/varied/data/qcd --scores",
        "--varied tracks_up 1 results/varied/data/qcd.tracks_up",
        "--varied-scores scale_down 0 results/varied/scores/mlp/top.scale_down.parquet",
        "hepml vary results/varied/ntuples/qcd_3.root results/varied/ntuples/qcd_3.tracks_up.root",
    ):
        assert expected in printed
    cuts = next(line for line in printed.splitlines() if "hepml infer" in line and "cuts" in line)
    assert "--varied tracks_up" in cuts
    assert "--varied-scores" not in cuts


def test_varied_ntuples_of_the_user_are_read_instead_of_the_nominal_ones(workflow):
    for name in ("s", "b", "b_up", "b_down"):
        (workflow.folder / f"{name}.root").touch()
    samples = {
        name: {"role": role, "files": [f"{name}.root"], "cross_section": 1}
        for name, role in (("s", "signal"), ("b", "background"))
    }
    objects = {d: {"files": {"b": [f"b_{d}.root"]}} for d in ("up", "down")}
    systematics = {"shower": {"objects": objects, "samples": ["b"]}}
    config = workflow.config("quick", analysis="own", samples=None, systematics=None)
    text = config.read_text().replace("samples: null", f"samples: {samples}")
    config.write_text(text.replace("systematics: null", f"systematics: {systematics}"))
    printed = workflow.run("-n", "-p", "--configfile", config)
    assert "hepml data b_up.root " in printed
    assert "hepml data b_down.root " in printed
    (workflow.folder / "b_up.root").unlink()
    printed = workflow.run("-n", "--configfile", config, check=False)
    assert "systematics.shower.objects.up.files.b: no file matches 'b_up.root'" in printed


def test_networks_are_exported_on_demand(workflow):
    # an option between: --quiet rules would take the target for one more of its words
    jobs = workflow.rerun("--cores", "2", "export", "--configfile", "config/quick.yaml")
    assert jobs["export_network"] == jobs["train"] == 3
    assert "export_network" not in workflow.rerun("--configfile", "config/quick.yaml")


def test_without_a_config_the_reference_analysis_is_planned(workflow):
    given = workflow.rerun("--configfile", "config/config.yaml")
    assert workflow.rerun() == given
    # and settings on the command line change it instead of replacing it
    assert workflow.rerun("--config", "folds=3")["train"] == 2 * 3
    changed = workflow.rerun("--config", "analysis=mine", "data={invalid: drop}")
    assert changed == given


def test_both_entries_plan_the_same(workflow):
    config = ("--configfile", "config/quick.yaml")
    inner = workflow.rerun("--snakefile", "workflow/Snakefile", *config)
    outer = workflow.rerun(*config)
    assert outer.pop("default") == inner.pop("all") == 1
    assert inner == outer


def test_lint_finds_nothing(workflow):
    assert "Lints for" not in workflow.run("--lint", "--configfile", "config/quick.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"luminosty": 3}, "luminosty: unknown key"),
        ({"inference": {"bins": "ten"}}, "inference.bins: Input should be a valid integer"),
        ({"samples": "config/nowhere.tsv"}, "config/nowhere.tsv: no such sample table"),
    ],
)
def test_a_wrong_config_stops_before_anything_runs(workflow, changes, message):
    config = workflow.config("quick", analysis="wrong", **changes)
    printed = workflow.run("-n", "--configfile", config, check=False)
    assert message in printed
    assert not (workflow.folder / "results/wrong").exists()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            "my_modle.py:build",
            "models.own.factory: my_modle.py:build: there is no file my_modle.py",
        ),
        ("my_model.py:biuld", "my_model.py defines no 'biuld' (nearest: build)"),
        ("my_model.py", "models.own.factory: expected file.py:function"),
    ],
)
def test_a_network_that_is_not_there_stops_before_anything_runs(workflow, factory, message):
    (workflow.folder / "my_model.py").write_text("raise SystemExit\ndef build(features): ...\n")
    own = {"own": {"factory": factory, "inputs": "features", "features": ["jet_pt"]}}
    config = workflow.config("quick", analysis="noown", models=own)
    assert message in workflow.run("-n", "--configfile", config, check=False)


def test_duplicate_keys_stop_before_anything_runs(workflow):
    text = (workflow.folder / "config/quick.yaml").read_text() + "\nluminosity: 2\n"
    (workflow.folder / "twice.yaml").write_text(text)
    printed = workflow.run("-n", "--configfile", "twice.yaml", check=False)
    assert "key 'luminosity' stands twice" in printed


def test_a_pattern_that_matches_nothing_is_named(workflow):
    samples = {
        "s": {"role": "signal", "files": ["ntuples/*.root"], "cross_section": 1},
        "b": {"role": "background", "files": ["ntuples/*.root"], "cross_section": 1},
    }
    config = workflow.config("quick", analysis="nofiles", samples=None)
    config.write_text(config.read_text().replace("samples: null", f"samples: {samples}"))
    printed = workflow.run("-n", "--configfile", config, check=False)
    assert "samples.s.files: no file matches 'ntuples/*.root'" in printed


def test_parsing_the_workflow_loads_no_heavy_library():
    """The Snakefile is parsed again for every job: importing torch there would cost seconds."""
    code = (
        "import sys; from hepml import configfile; from hepml.provenance import code_digest; "
        "[code_digest(f'hepml.{stage}.stage') for stage in "
        "('simulation', 'data', 'training', 'scores', 'export', 'inference', 'plots')]; "
        "print(sorted({'torch', 'awkward', 'numpy', 'matplotlib', 'uproot'} & set(sys.modules)))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip() == "[]"


def test_names_of_files_are_never_run(workflow):
    """Blanks, quotes and command substitution in the names of a user's files."""
    folder = workflow.folder / "ntuples"
    folder.mkdir()
    for name in ("a b'c.root", "$(touch PWNED).root"):
        (folder / name).write_text("no ROOT file")
    text = (workflow.folder / "config/quick.yaml").read_text()
    text = text.replace("analysis: quick", "analysis: hostile")
    text = text.replace("process: top, events: 2000", "files: ['ntuples/*.root'], cross_section: 1")
    (workflow.folder / "hostile.yaml").write_text(text)
    target = "results/hostile/data/top"
    printed = workflow.run(target, "--configfile", "hostile.yaml", check=False)
    assert "not a readable ROOT file" in printed
    assert not (workflow.folder / "PWNED").exists()
    assert not (workflow.folder / target).exists()


def test_toys_are_scattered_over_jobs(workflow):
    inference = {"background_uncertainty": 0.1, "toys": 50_000}
    jobs = workflow.rerun(
        "--configfile", workflow.config("quick", analysis="toys", inference=inference)
    )
    assert jobs["merge_toys"] == 2  # the cuts and one network
    assert jobs["toys"] == 2 * 3
    assert "toys" not in workflow.rerun("--configfile", "config/quick.yaml")
