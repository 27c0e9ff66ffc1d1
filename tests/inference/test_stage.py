"""From files to files: the contract of inference/<method>.json and comparison.*"""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepml.config import Cut
from hepml.errors import InputError
from hepml.inference.stage import compare, infer
from hepml.inference.workspace import pyhf_significance


@pytest.fixture
def run(samples):
    """Run the stage on the samples on disk and read the result."""

    def run_job(job, scores=None):
        given = (() if job.cuts else samples.scores) if scores is None else scores
        output = samples.folder / f"{job.method}.json"
        infer(job, samples.data, given, output, samples.folder / "workspace.json")
        return read(output)

    return run_job


def read(path):
    return json.loads(path.read_text())


def test_model(judged):
    result = read(judged.mlp)
    assert result["events"] == 2850 + 2945  # data events are left out
    assert result["auc"]["value"] == pytest.approx(0.8556, abs=4 * result["auc"]["error"])
    assert [list(t) for t in result["working_point"]["thresholds"]] == [["llr"]] * 4
    assert set(result["working_point"]["signal"]) == {"yield", "error", "raw", "raw_interval"}
    significance = result["significance"]
    assert significance["li_ma"]["value"] == pytest.approx(significance["counting"]["value"])
    assert significance["counting_without_uncertainty"]["value"] > significance["counting"]["value"]
    assert significance["binned"]["value"] > significance["counting"]["value"]
    # the exact ratio of the toy: the optimum of its own events, more than any bins find
    assert significance["unbinned"]["value"] > significance["binned"]["value"]
    assert result["unbinned"]["mu"]["value"] == pytest.approx(1, abs=0.15)
    mean = result["unbinned"]["mean_ratio"]
    assert mean["value"] == pytest.approx(1, abs=4 * mean["error"])
    assert len(result["replicas"]["unbinned"]) == 10
    assert len(result["replicas"]["counting"]) == len(result["replicas"]["binned"]) == 10
    assert np.std(result["replicas"]["binned"], ddof=1) == significance["binned"]["error"]
    assert [len(edges) for edges in result["histogram"]["edges"]] == [5] * 4
    assert result["limit"]["expected"] == sorted(result["limit"]["expected"])


def test_the_exact_ratio_closes(judged):
    result = read(judged.mlp)
    closure = result["closure"]
    for name in ("slope", "mean_ratio", "mean_inverse", "mean_of_mixture"):
        assert closure[name]["value"] == pytest.approx(1, abs=4 * closure[name]["error"])
    assert len(closure["slope_of_folds"]) == 4
    assert not any("likelihood ratio has" in text for text in result["warnings"])


def test_a_failed_check_is_a_warning_or_an_error(samples, run, make_job):
    for path in samples.scores:
        table = pq.read_table(path).to_pydict()
        pq.write_table(pa.table(table | {"llr": 3 * np.array(table["llr"])}), path)
    warned = run(make_job("mlp"))
    message = "slope of the calibration is 0.3"
    assert any(message in text for text in warned["warnings"])
    with pytest.raises(InputError, match=f"mlp: the {message}.*inference.gate: warn"):
        run(make_job("mlp", gate="fail"))


def test_workspace_gives_the_quoted_significance(judged):
    quoted = read(judged.mlp)["significance"]["binned"]["value"]
    assert pyhf_significance(read(judged.workspace)) == pytest.approx(quoted, rel=1e-6)


def test_scan_peaks_at_the_working_point(judged):
    result = read(judged.mlp)
    best = max(result["scan"]["significance"])
    assert result["significance"]["counting"]["value"] == pytest.approx(best, rel=0.06)


def test_cuts(judged):
    result = read(judged.cuts)
    assert result["auc"] is result["roc"] is result["scan"] is None
    assert result["histogram"]["edges"] is None
    point = result["working_point"]
    assert point["signal"]["yield"] == pytest.approx(result["histogram"]["signal"][1])
    assert all(list(ends) == ["x", "y"] for ends in point["thresholds"])
    assert all(ends["x"][1] is None for ends in point["thresholds"])
    assert result["rejection"]["0.3"]["signal_efficiency"] == pytest.approx(0.3, abs=0.03)


def test_cuts_on_the_score_are_the_score(run, make_job, judged):
    """x and llr are the same up to a straight line, and treated the same."""
    cuts = run(make_job("cuts", (Cut(variable="x", keep="above"),)))
    model = read(judged.mlp)
    difference = np.subtract(cuts["replicas"]["counting"], model["replicas"]["counting"])
    assert difference == pytest.approx(0, abs=0.02)  # x is stored as float32


def test_comparison(judged, trained, tmp_path):
    cuts, model = read(judged.cuts), read(judged.mlp)
    compare((judged.mlp, judged.cuts), {"mlp": trained}, tmp_path, luminosity=300.0)
    content = read(tmp_path / "comparison.json")
    first, second = content["rows"]
    assert (first["method"], second["method"], content["baseline"]) == ("cuts", "mlp", "cuts")
    ratio = model["significance"]["counting"]["value"] / cuts["significance"]["counting"]["value"]
    assert second["extra_data"] == pytest.approx(ratio**2 - 1)
    assert second["p_ratio"] == pytest.approx(cuts["p_value"] / model["p_value"])
    assert (first["luminosity_factor"], first["extra_data"]) == (pytest.approx(1, abs=1e-5), 0)
    assert second["luminosity_factor"] > 1 + second["extra_data"]  # systematics do not shrink
    assert (first["delta_z_binned"], first["delta_z_binned_error"]) == (0, 0)
    paired = np.subtract(model["replicas"]["binned"], cuts["replicas"]["binned"])
    assert second["delta_z_binned_error"] == pytest.approx(paired.std(ddof=1))
    assert (second["parameters"], second["training_seconds"], second["device"]) == (321, 3.5, "cpu")
    assert second["macs"] == 300.5
    assert first["parameters"] is None


def test_comparison_as_tables(judged, tmp_path):
    compare((judged.cuts, judged.mlp), {}, tmp_path, luminosity=300.0)
    row = read(tmp_path / "comparison.json")["rows"][1]
    with (tmp_path / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[1]["z_binned"] == str(row["z_binned"])
    assert rows[0]["auc"] == ""
    text = (tmp_path / "comparison.md").read_text()
    assert text.startswith("# Comparison at 300 fb⁻¹")
    assert f"| MLP | {row['auc']:.4f} ± {row['auc_error']:.4f} |" in text


def test_different_events_are_not_compared(judged, tmp_path):
    other = tmp_path / "mlp.json"
    other.write_text(json.dumps(read(judged.mlp) | {"events_digest": "0" * 64}))
    with pytest.raises(InputError, match="cuts and mlp were judged on different events"):
        compare((judged.cuts, other), {}, tmp_path, 300.0)


def test_comparison_needs_cuts(judged, tmp_path):
    with pytest.raises(
        InputError, match="expected each method once and 'cuts' among them, got mlp"
    ):
        compare((judged.mlp,), {}, tmp_path, 300.0)


def test_results_of_another_version_are_refused(judged, tmp_path):
    other = tmp_path / "mlp.json"
    other.write_text(json.dumps({**read(judged.mlp), "mu": None}))
    with pytest.raises(InputError, match=r"mlp.json: not a result of this version"):
        compare((judged.cuts, other), {}, tmp_path, 300.0)


def test_comparison_needs_trained_models(samples, trained):
    (trained[1] / "model.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"fold1/model.json: no parameters, macs, seconds and device"
    ):
        compare((), {"mlp": trained}, samples.folder / "all", 300.0)


def scored(samples, position, change):
    """Change the scores of one sample."""
    columns = pq.read_table(samples.scores[position]).to_pydict()
    arrays = {name: np.array(values) for name, values in columns.items()}
    change(arrays)
    pq.write_table(pa.table(arrays), samples.scores[position])


def test_scores_of_other_events(run, make_job, samples):
    def swap(columns):
        columns["event_id"][[0, 1]] = columns["event_id"][[1, 0]]

    scored(samples, 1, swap)
    with pytest.raises(InputError, match=r"qcd.parquet: the 3000 events are not the 3000 of .*qcd"):
        run(make_job())


def test_scores_that_are_not_numbers(run, make_job, samples):
    def spoil(columns):
        columns["llr"][[0, 5]] = np.nan, np.inf

    scored(samples, 0, spoil)
    with pytest.raises(InputError, match=r"top.parquet: column llr holds 2 NaN or infinite"):
        run(make_job())


def test_too_few_scores(run, make_job, samples):
    with pytest.raises(InputError, match="mlp: 2 data folders but 1 score files"):
        run(make_job(), samples.scores[:1])


def test_classes_without_weight(run, make_job, samples):
    np.save(samples.data[1] / "weight.npy", np.full(3000, -1.0))
    with pytest.raises(InputError, match="the background weights sum to -2850"):
        run(make_job())


def test_no_signal(run, make_job, samples):
    np.save(samples.data[0] / "label.npy", np.full(3100, -1, np.int8))
    with pytest.raises(InputError, match="no signal events; check the roles"):
        run(make_job())


def test_more_folds_than_configured(run, make_job, samples):
    np.save(samples.data[0] / "fold.npy", np.full(3100, 6, np.int8))
    with pytest.raises(InputError, match=r"column fold holds \[6\], expected 0 to 3"):
        run(make_job())


def test_background_too_small_for_the_constraint(run, make_job):
    with pytest.raises(InputError, match=r"lower inference\.minimum_background"):
        run(make_job(minimum_background=2900))


def test_variable_that_is_not_finite(run, make_job, samples):
    x = np.load(samples.data[1] / "x.npy")
    x[8] = np.nan
    np.save(samples.data[1] / "x.npy", x)
    with pytest.raises(InputError, match="qcd: column x holds 1 NaN or infinite values"):
        run(make_job("cuts", (Cut(variable="x", keep="above"),)))


def test_titles_do_not_end_cells_or_lines(judged, tmp_path):
    named = tmp_path / "mlp.json"
    named.write_text(json.dumps(read(judged.mlp) | {"title": "a | b\nc"}))
    compare((judged.cuts, named), {}, tmp_path, 300.0)
    text = (tmp_path / "comparison.md").read_text()
    assert "| a \\| b c |" in text
