"""Whole runs on analytic toys, whose answers are known."""

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
