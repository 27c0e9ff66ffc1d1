"""Whole runs on analytic toys, whose answers are known."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import rankdata

from hepml import configfile, jobs
from hepml.data import interfering
from hepml.inference.interference.method import evaluate
from hepml.inference.interference.samples import Kind, Samples

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


def test_a_signal_that_interferes(workflow):
    """µ by learned ratios against µ by the exact ones, on the same events."""
    events = {
        name: {"role": role, "process": f"toy_{kind}", "events": 10000, "expected_events": expected}
        for name, role, kind, expected in (
            ("signal", "signal", "signal", interfering.SIGNAL),
            ("background", "background", "background", interfering.BACKGROUND),
            ("together", "sbi", "sbi", interfering.SBI),
        )
    }
    changes = {"interference": {"toys": 100}}
    config = workflow.config("oracle_interference", samples=events, **changes)
    workflow.run("--configfile", config)
    folder = workflow.folder / "results/oracle_interference"
    fits = {
        method: {fit["estimator"]: fit for fit in read_json(folder / f"interference/{method}.json")}
        for method in ("mlp", "cuts")
    }
    tables = [pq.read_table(folder / f"scores/mlp/{name}.parquet") for name in events]
    columns = {
        name: np.concatenate([table[name].to_numpy() for table in tables])
        for name in ("exact_llr", "exact_sbi_llr", "weight", "fold", "event_id")
    }
    kind = np.repeat([Kind.SIGNAL, Kind.BACKGROUND, Kind.SBI], [len(table) for table in tables])
    exact = evaluate(
        jobs.interference_job(configfile.load(config), "mlp"),
        Samples(columns["event_id"], columns["fold"], kind, columns["weight"]),
        np.stack([columns["exact_llr"], columns["exact_sbi_llr"]]),
    )
    best, learned = exact.expected[0], fits["mlp"]["unbinned"]
    # trained on 6000 events of each kind, they claim a tenth more precision than there is
    assert learned["sigma"] == pytest.approx(best.sigma, rel=0.2)
    assert learned["mu"]["value"] == pytest.approx(best.mu.value, abs=0.1)
    assert fits["mlp"]["binned"]["sigma"] < 1.1 * exact.expected[1].sigma
    assert fits["mlp"]["binned"]["sigma"] < 0.5 * fits["cuts"]["counting"]["sigma"]
    page = (folder / "report.html").read_text()
    assert "Constant of SBI" in page
    assert "mlp, SBI" in page  # its trainings
    assert workflow.rerun("--configfile", config) == {}
    # what SBI is normalised to is no matter of the networks of signal
    events["together"]["expected_events"] = 400
    config = workflow.config("oracle_interference", samples=events, **changes)
    assert workflow.rerun("--configfile", config)["train"] == 5


def read_json(path):
    return json.loads(path.read_text())["expected"]
