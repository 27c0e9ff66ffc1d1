"""Data: closed while blind, and afterwards the numbers of closed forms and of cabinetry."""

import json

import cabinetry
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import norm

from hepml.artifacts import new_folder
from hepml.config import Cut
from hepml.data.store import ColumnWriter
from hepml.errors import InputError
from hepml.inference.blinding import open_bins
from hepml.inference.events import Yields
from hepml.inference.observed import fit_observed, with_observations
from hepml.inference.stage import infer
from hepml.inference.templates import Effect, Template, Templates
from hepml.inference.workspace import workspace


def made(signal, background, errors, counts, uncertainty):
    """Workspace of some bins with data."""
    s, b, e = (np.array(x, float) for x in (signal, background, errors))
    effects = {"norm": Effect((1 - uncertainty, 1 + uncertainty), None)} if uncertainty else {}
    processes = Template("s", True, s, 0 * s, {}), Template("b", False, b, e, effects)
    return with_observations(workspace(Templates(processes, tuple(effects)), "mlp"), counts)


def test_one_bin_with_known_background_is_cowans_formula():
    found = fit_observed(made([10.0], [50.0], [1e-6], [65], 0.0), "mlp")
    assert found.mu == pytest.approx(1.5, abs=1e-3)  # Minuit stops at a share of σ
    assert found.sigma_mu == pytest.approx(np.sqrt(65) / 10, rel=1e-3)
    z = np.sqrt(2 * (65 * np.log(65 / 50) - 15))
    assert found.significance == pytest.approx(z, rel=1e-5)
    assert found.p_value == pytest.approx(norm.sf(z), rel=1e-4)
    assert found.goodness_of_fit.p_value is None  # one bin and one free parameter: always perfect
    low, high = found.interval
    for end in (low, high):  # 2[λ - n + n ln(n/λ)] = 1
        expected = 50 + 10 * end
        assert 2 * (expected - 65 + 65 * np.log(65 / expected)) == pytest.approx(1, abs=1e-3)


def test_deficit_has_negative_strength_and_no_significance():
    found = fit_observed(made([10.0], [50.0], [1e-6], [40], 0.0), "mlp")
    assert found.mu == pytest.approx(-1, abs=1e-3)
    assert found.significance == 0
    assert found.p_value == 0.5


BINS = ([2.0, 6.0, 12.0], [300.0, 60.0, 11.0], [9.0, 4.0, 1.5], [310, 71, 19])


@pytest.mark.filterwarnings("ignore:jsonschema.RefResolver:DeprecationWarning")
def test_observed_numbers_are_those_of_cabinetry():
    content = made(*BINS, 0.1)
    found = fit_observed(content, "mlp")
    model, data = cabinetry.model_utils.model_and_data(content)
    fit = cabinetry.fit.fit(model, data, goodness_of_fit=True)
    mu = fit.labels.index("mu")
    assert found.mu == pytest.approx(fit.bestfit[mu], rel=2e-3)
    assert found.sigma_mu == pytest.approx(fit.uncertainty[mu], rel=2e-2)
    assert found.goodness_of_fit.degrees_of_freedom == 2
    assert found.goodness_of_fit.p_value == pytest.approx(fit.goodness_of_fit, rel=5e-3)
    significance = cabinetry.fit.significance(model, data)
    assert found.significance == pytest.approx(significance.observed_significance, rel=1e-3)
    limit = cabinetry.fit.limit(model, data, bracket=(0.2, 10.0))
    assert found.limit == pytest.approx(limit.observed_limit, rel=5e-3)


def test_bins_close_from_the_first_with_too_much_signal(make_job):
    signal, background = np.array([1.0, 5.0, 1.0, 30.0]), np.array([100.0, 100.0, 400.0, 100.0])
    yields = Yields(signal, background, signal, background, signal, background)
    blind = make_job().inference
    assert open_bins(yields, blind) == 1  # 0.1, 0.5: the second closes the third, too
    assert open_bins(yields, make_job(blind_above=0.6).inference) == 3
    assert open_bins(yields, make_job(unblind=True).inference) == 4


@pytest.fixture
def with_data(samples):
    """A data sample: Poisson(background + signal) from the toy, its scores in a file."""
    rng = np.random.default_rng(99)
    x = np.concatenate([rng.normal(0, 1, rng.poisson(500)), rng.normal(1.5, 1, rng.poisson(50))])
    columns = {
        "event_id": rng.integers(0, 2**63, len(x)).astype(np.uint64),
        "fold": (np.arange(len(x)) % 4).astype(np.int8),
        "label": np.full(len(x), -1, np.int8),
        "weight": np.ones(len(x)),
        "x": x.astype(np.float32),
        "y": rng.normal(size=len(x)).astype(np.float32),
    }
    folder = samples.folder / "data" / "recorded"
    with new_folder(folder) as new, ColumnWriter(new, ("x", "y")) as writer:
        writer.append(columns)
        writer.finish({})
    table = {key: columns[key] for key in ("event_id", "fold", "label")}
    table |= {"llr": 1.5 * x - 1.125, "llr_train": 1.5 * x - 1.125}
    path = samples.folder / "recorded.parquet"
    pq.write_table(pa.table(table), path)
    for sample, scored in zip(samples.data, samples.scores, strict=True):
        label = np.load(sample / "label.npy", mmap_mode="r+")
        label[:] = sample.name == "top"  # 5 % are data otherwise
        label.flush()
        table = pq.read_table(scored).to_pydict()
        pq.write_table(pa.table(table | {"label": np.asarray(label)}), scored)
    return (*samples.data, folder), (*samples.scores, path)


def judge(samples, with_data, job):
    data, scores = with_data
    output = samples.folder / f"{job.method}.json"
    space = samples.folder / "workspace.json"
    infer(job, data, () if job.cuts else scores, output, space)
    return json.loads(output.read_text()), json.loads(space.read_text())


def test_blind_scores_are_not_read(samples, with_data, make_job):
    path = with_data[1][-1]
    before, content = judge(samples, with_data, make_job("mlp", blind_above=1.0))
    counts = before["observed"]["data"]["counts"]
    assert counts[0] > 100
    assert counts[-1] is None
    assert before["observed"]["fit"] is None
    expected = np.add(before["histogram"]["signal"], before["histogram"]["background"])
    assert content["observations"][0]["data"] == pytest.approx(expected)
    table = pq.read_table(path).to_pydict()
    llr = np.array(table["llr"], float)
    llr[llr > np.quantile(llr, 0.97)] = np.nan  # would stop whoever reads it
    pq.write_table(pa.table(table | {"llr": llr}), path)
    assert (
        judge(samples, with_data, make_job("mlp", blind_above=1.0))[0]["observed"]
        == before["observed"]
    )
    with pytest.raises(InputError, match=r"recorded.parquet: column llr holds \d+ NaN"):
        judge(samples, with_data, make_job("mlp", unblind=True))


def test_unblinded_score_finds_the_signal_that_is_there(samples, with_data, make_job):
    result, content = judge(samples, with_data, make_job("mlp", unblind=True, bins=8))
    counts = result["observed"]["data"]["counts"]
    recorded = len(pq.read_table(with_data[1][-1]))
    assert sum(counts) == recorded
    assert content["observations"][0]["data"] == counts
    fit = result["observed"]["fit"]
    assert abs(fit["mu"] - 1) < 3 * fit["sigma_mu"]
    assert fit["sigma_mu"] == pytest.approx(result["mu"]["sigma"], rel=0.2)
    assert fit["goodness_of_fit"]["p_value"] > 0.003
    assert fit["interval"][0] < fit["mu"] < fit["interval"][1] < fit["limit"]


def test_cuts_count_what_fails_and_open_what_passes(samples, with_data, make_job):
    cuts = (Cut(variable="x", keep="above"),)
    blind, _ = judge(samples, with_data, make_job("cuts", cuts, blind_above=2.0))
    opened, _ = judge(samples, with_data, make_job("cuts", cuts, unblind=True))
    x = np.load(with_data[0][-1] / "x.npy")
    fold = np.load(with_data[0][-1] / "fold.npy")
    lowest = [t["x"][0] for t in blind["working_point"]["thresholds"]]
    passed = int((x >= np.array(lowest)[fold]).sum())
    assert blind["observed"]["data"]["counts"] == [len(x) - passed, None]
    assert opened["observed"]["data"]["counts"] == [len(x) - passed, passed]
    assert opened["observed"]["fit"]["significance"] > 0


def test_without_data_nothing_is_observed(judged):
    data = json.loads(judged.mlp.read_text())["observed"]["data"]
    assert data["counts"][-1] is None  # the 5 % of the fixture are data: blind
