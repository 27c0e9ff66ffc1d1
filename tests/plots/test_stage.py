import json

import numpy as np
import pytest

from hepml.data.store import ColumnWriter, open_columns
from hepml.errors import InputError
from hepml.plots.stage import (
    plot_histogram,
    plot_learning_curve,
    plot_llr,
    plot_roc,
    plot_significance,
    plot_summary,
    plot_variable,
)


def test_every_figure_is_written_three_times(drawn):
    stems = {path.stem for path in (drawn / "plots").iterdir()}
    assert stems == {
        *("summary", "roc", "significance", "likelihood", "cutflow"),
        *("variable_tau32", "histogram_cuts", "histogram_mlp", "llr_mlp", "training_mlp"),
        *("ranking_cuts", "ranking_mlp"),
    }
    for stem in stems:
        for kind in ("pdf", "png", "json"):
            assert (drawn / "plots" / f"{stem}.{kind}").stat().st_size > 100


def test_numbers_beside_a_variable_are_those_of_its_columns(drawn, read_json):
    numbers = read_json(drawn / "plots" / "variable_tau32.json")
    top = open_columns(drawn / "data" / "top")
    edges = np.array(numbers["signal"]["edges"])
    x = np.clip(top["tau32"], edges[0], edges[-1])
    counts, _ = np.histogram(x, edges, weights=top["weight"])
    density = counts / counts.sum() / np.diff(edges)
    np.testing.assert_allclose(numbers["signal"]["values"], density)
    squares, _ = np.histogram(x, edges, weights=np.square(top["weight"]))
    errors = np.sqrt(squares) / counts.sum() / np.diff(edges)
    np.testing.assert_allclose(numbers["signal"]["errors"], errors)


def test_numbers_beside_the_roc_are_those_of_the_results(drawn, read_json):
    numbers = read_json(drawn / "plots" / "roc.json")
    result = read_json(drawn / "inference" / "mlp.json")
    assert [curve["method"] for curve in numbers] == ["cuts", "mlp"]
    assert numbers[1]["background_efficiency"] == result["roc"]["background_efficiency"]


def test_numbers_beside_the_likelihood_are_relative_to_the_unbinned_fit(drawn, read_json):
    numbers = read_json(drawn / "plots" / "likelihood.json")
    of_cuts, of_mlp = ([x for x in numbers if x["method"] == m] for m in ("cuts", "mlp"))
    assert [x["relative"] for x in of_cuts] == [None] * 3
    of_all_sources = [1, 1.032279, 1.166190, 1.708801]  # further ones add 0.18 to 0.24
    assert [x["relative"] for x in of_mlp] == pytest.approx(of_all_sources, rel=1e-6)
    assert [x["relative_normalisation_only"] for x in of_mlp] == pytest.approx([1, 1.05, 1.25, 2])
    assert of_mlp[0]["sigma"] == pytest.approx(0.3)
    assert of_mlp[0]["sigma_normalisation_only"] == pytest.approx(0.24)


def test_cuts_alone_can_be_drawn(results, caption, tmp_path, write_changed):
    cuts = results / "inference" / "cuts.json"
    plot_roc((cuts,), caption, tmp_path / "roc")
    plot_significance((cuts,), caption, tmp_path / "significance")

    def only_cuts(content):
        content["rows"] = content["rows"][:1]
        content["rows"][0]["z_binned"] = content["rows"][0]["z_counting_error"] = None

    plot_summary(write_changed(results / "comparison.json", only_cuts), caption, tmp_path / "sum")
    assert len(list(tmp_path.glob("*.png"))) == 3


def test_histogram_may_have_null_instead_of_edges(results, caption, tmp_path, write_changed):
    def without_edges(content):
        content["histogram"]["edges"] = None

    result = write_changed(results / "inference" / "mlp.json", without_edges)
    plot_histogram(result, caption, tmp_path / "histogram")
    assert json.loads((tmp_path / "histogram.json").read_text())["edges"] == []


def test_a_class_without_events_is_named(results, caption, tmp_path):
    scores = results / "scores" / "mlp" / "top.parquet"
    with pytest.raises(InputError, match=r"no background events in .*top\.parquet"):
        plot_llr((scores,), "MLP", caption, tmp_path / "llr")
    with pytest.raises(InputError, match="no signal events"):
        plot_variable((results / "data" / "qcd",), "tau32", "τ", caption, tmp_path / "tau32")


def test_data_stay_hidden_in_distributions(results, caption, tmp_path, read_json):
    folder = tmp_path / "data"
    folder.mkdir()
    with ColumnWriter(folder, ("tau32",)) as writer:
        unit = np.ones(50)
        identity = {"event_id": unit, "fold": unit, "label": -unit, "weight": unit}
        writer.append({**identity, "tau32": 9 * unit})
        writer.finish({})
    samples = (results / "data" / "top", results / "data" / "qcd")
    plot_variable(samples, "tau32", "τ", caption, tmp_path / "without")
    plot_variable((*samples, folder), "tau32", "τ", caption, tmp_path / "with")
    assert read_json(tmp_path / "with.json") == read_json(tmp_path / "without.json")


@pytest.fixture
def points(results, tmp_path, read_json):
    """The made-up network after trainings on some numbers of events, in no order."""
    made = []
    for model, events, auc in (("mlp", 900, 0.9), ("cnn", 30, 0.7), ("mlp", 100, 0.8)):
        content = read_json(results / "inference" / "mlp.json")
        content["auc"] = {"value": auc, "error": 0.01}
        content["title"] = model.upper()
        content["significance"]["counting"]["value"] = events / 100
        path = tmp_path / f"{model}_{events}.json"
        path.write_text(json.dumps(content))
        folder = tmp_path / f"fold0_{model}_{events}"
        folder.mkdir()
        (folder / "model.json").write_text(json.dumps({"training_events": events}))
        made.append((model, folder, path))
    return tuple(made)


def test_learning_curves_are_sorted_by_events(results, points, caption, tmp_path, read_json):
    cuts = results / "inference" / "cuts.json"
    plot_learning_curve(cuts, points, caption, tmp_path / "learning_curve")
    numbers = read_json(tmp_path / "learning_curve.json")
    assert numbers["cuts"] == read_json(cuts)["significance"]["counting"]
    mlp, cnn = numbers["networks"]  # in the order of the command line
    assert (mlp["title"], cnn["title"]) == ("MLP", "CNN")
    assert mlp["events"] == [100, 900]
    assert mlp["auc_gap"] == pytest.approx([0.2, 0.1])
    assert mlp["significance"] == [1, 9]
    assert cnn["events"] == [30]


def test_points_of_a_learning_curve_that_make_no_sense(results, points, caption, tmp_path):
    cuts = results / "inference" / "cuts.json"
    _, folder, result = points[0]
    for wrong, message in (
        (("mlp", folder, result), "both trained on 900 events, all there are"),
        (("cnn", folder, cuts), "cuts.json is not the result of a network"),
    ):
        with pytest.raises(InputError, match=message):
            plot_learning_curve(cuts, (*points, wrong), caption, tmp_path / "learning_curve")
    assert not list(tmp_path.glob("learning_curve*"))
