"""A whole run to the report: what it leaves, and what reruns when something changes."""

import json

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow
OWN_MODEL = """
from torch import nn

def build(features, width=4):
    return nn.Sequential(nn.Linear(features, width), nn.Tanh(), nn.Linear(width, 1), nn.Flatten(0))
"""
SYSTEMATICS = """
systematics:
  shift:
    samples: [signal]
    objects: {up: {branches: {x0: x0 + 0.1}}, down: {branches: {x0: x0 - 0.1}}}
  factor:
    samples: [background]
    weight: {up: 1 + 0.1 * (x1 > 0), down: 1 - 0.1 * (x1 > 0)}
"""


@pytest.fixture(scope="module")
def finished(workflow):
    """A small toy analysis, run to the end."""
    sample = "{role: %s, process: toy_%s, events: 1500, expected_events: %d}"
    samples = [
        "  signal: " + sample % ("signal", "signal", 50),
        "  background: " + sample % ("background", "background", 500),
    ]
    training = {"architecture": "mlp", "features": ["x0", "x1"], "hidden": [8]}
    training["training"] = {"epochs": 3, "patience": 2}
    config = workflow.config("oracle", analysis="small", samples=None, folds=3)
    text = config.read_text().replace("samples: null", "samples:\n" + "\n".join(samples))
    own = {"factory": "my_model.py:build", "inputs": "features", "features": ["x0", "x1", "x2"]}
    own["training"] = training["training"]
    (workflow.folder / "my_model.py").write_text(OWN_MODEL)
    models = f"models: {{mlp: {training}, wide: {training}, own: {own}}}\n"
    text = text.split("models:")[0] + models
    text += "inference: {background_uncertainty: 0.05, replicas: 50, bins: 4}\n"
    text += SYSTEMATICS
    config.write_text(text)
    workflow.run("--configfile", config)
    return config


def trained_models(printed):
    """Models and folds that a dry run would train."""
    return {
        line.strip() for line in printed.splitlines() if "wildcards: " in line and "fold=" in line
    }


def test_a_second_run_has_nothing_to_do(workflow, finished):
    assert "Nothing to be done" in workflow.run("--configfile", finished)


@pytest.mark.usefixtures("finished")
def test_another_number_of_gpus_trains_nothing_again(workflow, finished):
    gpus = ("--resources", "gpu=2", "--set-resources", "train:gpu=2")
    assert workflow.rerun("--configfile", finished, *gpus) == {}
    printed = workflow.run("-n", "-p", "-R", "train", "--configfile", finished, *gpus)
    assert "exec $(test 2 -gt 1 && echo torchrun --standalone --nproc-per-node=2" in printed


def test_the_contract_of_results_is_kept(workflow):
    results = workflow.folder / "results/small"
    for name in (
        "comparison.json",
        "comparison.csv",
        "comparison.md",
        "provenance.json",
        "report.html",
        "data/signal/cutflow.json",
        "training/mlp/fold2/model.safetensors",
        "training/own/fold2/model.safetensors",
        "scores/wide/background.parquet",
        "inference/cuts.workspace.json",
        *(f"plots/roc.{suffix}" for suffix in ("pdf", "png", "json")),
    ):
        assert (results / name).is_file(), name
    provenance = json.loads((results / "provenance.json").read_text())
    assert len(provenance["inputs"]) == 3  # two ROOT files and the user's network
    assert provenance["settings"]["analysis"] == "small"


@pytest.mark.usefixtures("finished")
def test_one_event_has_one_fold_everywhere(workflow):
    folds = {}
    for path in (workflow.folder / "results/small/scores").rglob("*.parquet"):
        table = pq.read_table(path)
        for event, fold in zip(*(table[n].to_pylist() for n in ("event_id", "fold")), strict=True):
            assert folds.setdefault(event, fold) == fold
    assert set(folds.values()) == {0, 1, 2}


def test_a_comment_reruns_nothing(workflow, finished):
    module = workflow.folder / "hepml/training/loop.py"
    original = module.read_text()
    try:
        module.write_text(original + "\n# a remark\n")
        assert workflow.rerun("--configfile", finished) == {}
        module.write_text(original + "\nANSWER = 42\n")
        jobs = workflow.rerun("--configfile", finished)
        assert jobs["train"] == 9
        assert "simulate" not in jobs
        assert "data" not in jobs
    finally:
        module.write_text(original)


def test_settings_of_one_model_rerun_that_model_only(workflow, finished):
    text = finished.read_text()
    changed = finished.with_name("changed.yaml")
    before, after = text.rsplit("'hidden': [8]", 1)  # of wide
    changed.write_text(before + "'hidden': [9]" + after)
    printed = workflow.run("-n", "--configfile", changed)
    assert trained_models(printed) == {f"wildcards: model=wide, fold={k}" for k in range(3)}
    jobs = workflow.rerun("--configfile", changed)
    assert jobs["train"] == 3
    assert jobs["score"] == 2
    assert jobs["infer"] == 1


@pytest.mark.parametrize(
    ("old", "new", "remade"),
    [
        ("x0 + 0.1", "x0 + 0.2", {"data_varied": 1, "score_varied": 3}),
        ("1 + 0.1 *", "1 + 0.2 *", {"data_weights": 1}),
        ("  factor:", "  factor:\n    title: A factor", {}),
    ],
)
def test_a_changed_systematic_remakes_its_own_copies_and_the_inference(
    workflow, finished, old, new, remade
):
    changed = finished.with_name("systematic.yaml")
    changed.write_text(finished.read_text().replace(old, new))
    jobs = workflow.rerun("--configfile", changed)
    stages = ("simulate", "vary", "data", "data_varied", "data_weights", "train", "score")
    made = {rule: jobs[rule] for rule in (*stages, "score_varied") if rule in jobs}
    assert made == remade
    assert jobs["infer"] == 4


@pytest.mark.usefixtures("finished")
def test_changed_copies_keep_the_folds_of_their_events(workflow):
    nominal, varied = (
        pq.read_table(workflow.folder / f"results/small/scores/mlp/signal{variation}.parquet")
        for variation in ("", ".shift_up")
    )
    for name in ("event_id", "fold", "label", "weight"):
        assert nominal[name].to_pylist() == varied[name].to_pylist()
    old, new = (table["llr"].to_numpy() for table in (nominal, varied))
    assert (old != new).mean() > 0.99


def test_a_change_of_the_users_file_reruns_its_model_only(workflow, finished):
    file = workflow.folder / "my_model.py"
    try:
        file.touch()
        assert workflow.rerun("--configfile", finished) == {}
        file.write_text(OWN_MODEL.replace("nn.Tanh()", "nn.ReLU()"))
        printed = workflow.run("-n", "--configfile", finished)
        assert trained_models(printed) == {f"wildcards: model=own, fold={k}" for k in range(3)}
        jobs = workflow.rerun("--configfile", finished)
        assert (jobs["train"], jobs["score"], jobs["infer"]) == (3, 2, 1)
        assert "data" not in jobs
    finally:
        file.write_text(OWN_MODEL)


def test_writing_out_a_default_reruns_nothing(workflow, finished):
    explicit = finished.with_name("explicit.yaml")
    text = finished.read_text().replace("'epochs': 3", "'schedule': one-cycle, 'epochs': 3")
    explicit.write_text(text)
    assert workflow.rerun("--configfile", explicit) == {}


def test_labels_of_figures_rerun_figures_only(workflow, finished):
    labelled = finished.with_name("labelled.yaml")
    labelled.write_text(finished.read_text() + "plots: {labels: {x0: first}}\n")
    jobs = workflow.rerun("--configfile", labelled)
    assert jobs.keys() <= {
        "all",
        "default",
        "plot_variable",
        "plot_diagnostics",
        "report",
        "provenance",
    }
    assert jobs["plot_variable"] == 1


def test_snakemakes_own_report(workflow, finished):
    workflow.run("--report", "snakemake-report.zip", "--configfile", finished)
    assert (workflow.folder / "snakemake-report.zip").stat().st_size > 100_000
