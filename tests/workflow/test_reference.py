"""The quick reference analysis with simulated collisions, from nothing to the report."""

import json

import pytest

pytestmark = pytest.mark.slow


def test_quick_analysis(workflow):
    for package in ("pythia8mc", "fastjet"):
        pytest.importorskip(package, reason="simulated collisions need the extra 'simulate'")
    workflow.run("--configfile", "config/quick.yaml")
    results = workflow.folder / "results/quick"
    cuts, network = json.loads((results / "comparison.json").read_text())["rows"]
    # a prototype with 20k training jets had 0.986; 2k jets cost some of it
    assert network["auc"] > 0.96
    assert network["z_counting"] > 0
    assert cuts["z_counting"] > 0
    flow = json.loads((results / "data/top/cutflow.json").read_text())
    # LO cross-section of all-hadronic tt̄ above a given pT; times L = 100 pb⁻¹ and the tag's 0.7
    assert flow["cross_section"] > 0.4
    assert (results / "report.html").stat().st_size > 100_000
    assert "Nothing to be done" in workflow.run("--configfile", "config/quick.yaml")
