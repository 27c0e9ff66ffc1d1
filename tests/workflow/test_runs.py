"""Whole runs on analytic toys: known answers, and what reruns when something changes."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

pytestmark = pytest.mark.slow
SHUFFLED = (
    "{mixed: {label: event_id % 2 == 0, process: toy_signal, events: 12000, expected_events: 600}}"
)


def read_scores(workflow, analysis):
    """Label, llr and exact llr of all events."""
    folder = workflow.folder / f"results/{analysis}/scores/mlp"
    tables = [pq.read_table(path) for path in sorted(folder.glob("*.parquet"))]
    return tuple(
        np.concatenate([table[name].to_numpy() for table in tables])
        for name in ("label", "llr", "exact_llr")
    )


def auc(score, label):
    ranks, signal = rankdata(score), np.count_nonzero(label)
    pairs = signal * (len(label) - signal)
    return (ranks[label == 1].sum() - signal * (signal + 1) / 2) / pairs


# 20,000 events per class, of which 12,000 train each network. The paired gap to the exact ratio on
# the same events has no sampling error to speak of; prototypes of this size gave gaps of 4e-4 to
# 2.5e-3 and errors of the LLR of 0.14 to 0.19.
@pytest.mark.parametrize(
    ("toy", "exact_auc"), [("shift", 0.8555778168), ("scale", 0.710208), ("xor", 0.8836121)]
)
def test_networks_come_close_to_the_exact_ratio(workflow, toy, exact_auc):
    analysis = f"oracle_{toy}"
    config = workflow.config("oracle", analysis=analysis, simulation={"toy": toy})
    workflow.run(f"results/{analysis}/comparison.json", "--configfile", config)
    label, llr, exact = read_scores(workflow, analysis)
    best = auc(exact, label)
    assert best == pytest.approx(exact_auc, abs=0.008)  # three errors of 20k + 20k events
    assert -1e-3 < best - auc(llr, label) < 4e-3
    assert np.sqrt(np.mean((llr - exact) ** 2)) < 0.3
    comparison = json.loads((workflow.folder / f"results/{analysis}/comparison.json").read_text())
    cuts, network = comparison["rows"]
    gain = network["z_counting"] - cuts["z_counting"]
    assert gain == pytest.approx(network["delta_z_counting"])
    assert gain > 3 * network["delta_z_counting_error"]


def test_shuffled_labels_gain_nothing(workflow):
    """Labels that no variable knows about: every second event of one sample is called signal."""
    config = workflow.config("oracle", analysis="shuffled", samples=None)
    config.write_text(config.read_text().replace("samples: null", f"samples: {SHUFFLED}"))
    workflow.run("results/shuffled/comparison.json", "--configfile", config)
    comparison = json.loads((workflow.folder / "results/shuffled/comparison.json").read_text())
    cuts, network = comparison["rows"]
    assert abs(network["auc"] - 0.5) < 4 * network["auc_error"]
    assert abs(network["delta_z_counting"]) < 4 * network["delta_z_counting_error"] + 0.05
    # what counting everything gives, s = b = 300 with 5 % on b
    nothing_learned = cuts["z_counting"]
    assert network["z_counting"] < nothing_learned * 1.05


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
    text = text.split("models:")[0] + f"models: {{mlp: {training}, wide: {training}}}\n"
    text += "inference: {background_uncertainty: 0.05, replicas: 50, bins: 4}\n"
    config.write_text(text)
    workflow.run("--configfile", config)
    return config


def test_a_second_run_has_nothing_to_do(workflow, finished):
    assert "Nothing to be done" in workflow.run("--configfile", finished)


@pytest.mark.usefixtures("finished")
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
        "scores/wide/background.parquet",
        "inference/cuts.workspace.json",
        *(f"plots/roc.{suffix}" for suffix in ("pdf", "png", "json")),
    ):
        assert (results / name).is_file(), name
    provenance = json.loads((results / "provenance.json").read_text())
    assert len(provenance["inputs"]) == 2
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
        assert jobs["train"] == 6
        assert "simulate" not in jobs
        assert "data" not in jobs
    finally:
        module.write_text(original)


def test_settings_of_one_model_rerun_that_model_only(workflow, finished):
    text = finished.read_text()
    changed = finished.with_name("changed.yaml")
    before, after = text.rsplit("'hidden': [8]", 1)
    changed.write_text(before + "'hidden': [9]" + after)
    printed = workflow.run("-n", "--configfile", changed)
    trained = {
        line.strip() for line in printed.splitlines() if "wildcards: " in line and "fold=" in line
    }
    assert trained == {f"wildcards: model=wide, fold={k}" for k in range(3)}
    jobs = workflow.rerun("--configfile", changed)
    assert jobs["train"] == 3
    assert jobs["score"] == 2
    assert jobs["infer"] == 1


def test_writing_out_a_default_reruns_nothing(workflow, finished):
    explicit = finished.with_name("explicit.yaml")
    text = finished.read_text().replace("'epochs': 3", "'schedule': one-cycle, 'epochs': 3")
    explicit.write_text(text)
    assert workflow.rerun("--configfile", explicit) == {}


def test_labels_of_figures_rerun_figures_only(workflow, finished):
    labelled = finished.with_name("labelled.yaml")
    labelled.write_text(finished.read_text() + "plots: {labels: {x0: first}}\n")
    jobs = workflow.rerun("--configfile", labelled)
    assert jobs.keys() <= {"all", "default", "plot_variable", "report", "provenance"}
    assert jobs["plot_variable"] == 1


def test_snakemakes_own_report(workflow, finished):
    workflow.run("--report", "snakemake-report.zip", "--configfile", finished)
    assert (workflow.folder / "snakemake-report.zip").stat().st_size > 100_000
