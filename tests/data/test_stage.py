import re

import numpy as np
import pytest

from hepml.artifacts import sha256
from hepml.data import ntuples
from hepml.data.stage import make_columns
from hepml.data.store import open_columns
from hepml.errors import InputError


def test_columns_by_hand(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 10))  # Σw = 8 - 2 = 6
    columns, flow = run(
        [file], {"x": "pt / 10", "twice": "2 * x"}, data={"selection": {"hard": "pt > 20"}}
    )
    assert columns["x"].tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert columns["twice"].tolist() == [6, 8, 10, 12, 14, 16, 18]
    # 0.5 fb⁻¹ x 2 pb = 1000 events from Σw = 6; events 3 and 7 have w = -1
    signs = np.array([-1, 1, 1, 1, -1, 1, 1])
    np.testing.assert_allclose(columns["weight"], signs * 1000 / 6)
    assert [step["raw"] for step in flow["steps"]] == [10, 7]
    assert [step["yield"] for step in flow["steps"]] == pytest.approx([1000, 500])
    assert flow["steps"][1]["error"] == pytest.approx(np.sqrt(7) * 1000 / 6)
    assert flow["steps"][1]["efficiency"] == pytest.approx(3 / 6)
    assert (flow["negative_weights"], flow["negative_fraction"]) == (2, 0.2)
    assert flow["identity"] == ["run", "event"]


def test_particles_by_hand(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 4))  # 0, 1, 2, 3 particles
    columns, _ = run([file], data={"selection": {"two": "count(part_px) >= 2"}})
    particles = columns.particles()
    assert particles.offsets.tolist() == [0, 2, 5]
    # the first event that is left has px = 4 and 5; py = 4, pz = 12, massless; the hardest first
    np.testing.assert_allclose(particles.values[1], [4, 4, 12, np.sqrt(16 + 16 + 144)])
    assert particles.values[:, 0].tolist() == [5, 4, 8, 7, 6]


def test_sum_of_weights_is_luminosity_times_cross_section_times_efficiency(
    tmp_path, run, ntuple, write_tree
):
    file = write_tree(tmp_path / "a.root", ntuple(0, 200))
    columns, flow = run([file], data={"selection": {"good": "good", "n": "n != 1"}})
    expected = 0.5 * 2e3 * flow["steps"][-1]["efficiency"]
    assert columns["weight"].sum() == pytest.approx(expected)
    assert columns["weight"].sum() == pytest.approx(flow["steps"][-1]["yield"])


def test_files_and_their_order_change_nothing_of_an_event(tmp_path, run, ntuple, write_tree):
    whole = write_tree(tmp_path / "whole.root", ntuple(0, 60))
    parts = [
        write_tree(tmp_path / f"{start}.root", ntuple(start, stop))
        for start, stop in ((0, 10), (10, 45), (45, 60))
    ]
    first, _ = run([whole], folder="whole")
    second, _ = run(parts[::-1], folder="parts")
    order = np.argsort(first["pt"]), np.argsort(second["pt"])
    for name in first.names:
        np.testing.assert_allclose(first[name][order[0]], second[name][order[1]], rtol=1e-12)


def test_chunks_change_nothing(tmp_path, run, ntuple, write_tree, monkeypatch):
    file = write_tree(tmp_path / "a.root", ntuple(0, 300))
    run([file], folder="whole", data={"selection": {"good": "good"}})
    monkeypatch.setattr(ntuples, "CHUNK", 500)
    run([file], folder="chunks", data={"selection": {"good": "good"}})
    whole, chunks = (
        {path.name: sha256(path) for path in (tmp_path / folder).glob("*.npy")}
        for folder in ("whole", "chunks")
    )
    assert len(whole) == 7
    assert whole == chunks


def test_jets_of_one_event_share_its_fold(tmp_path, run, ntuple, write_tree):
    jets = ntuple(0, 60) | {"event": np.arange(60) // 3}
    columns, _ = run([write_tree(tmp_path / "a.root", jets)])
    by_event = columns["fold"].reshape(20, 3)
    assert (by_event == by_event[:, :1]).all()
    assert len(set(columns["fold"])) == 5


def test_weight_and_scale(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 10))
    # the scale is no part of Σ weights: half of 1000 events are expected
    columns, _ = run([file], sample={"scale": "0.5"})
    assert columns["weight"].sum() == pytest.approx(500)


@pytest.mark.parametrize("weight", ["good", "n + 1", "1", 2])
def test_weights_may_be_conditions_or_whole_numbers(tmp_path, run, ntuple, write_tree, weight):
    file = write_tree(tmp_path / "a.root", ntuple(0, 12))
    columns, _ = run([file], sample={"weight": weight})
    assert columns["weight"].sum() == pytest.approx(1000)


def test_data_count_one_each(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 10))
    columns, _ = run([file], sample={"role": "data", "cross_section": None})
    assert columns["weight"].tolist() == [1] * 10
    assert set(columns["label"]) == {-1}


def test_a_label_expression_tells_the_classes_apart(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    columns, _ = run([file], sample={"role": None, "label": "n == 2"})
    assert columns["label"].tolist() == [0, 0, 1, 0, 0, 1]


def test_a_label_without_a_value_is_an_error(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    sample = {"role": None, "label": "part_charge[0] > 0"}
    with pytest.raises(
        InputError, match=r"samples.top.label: .*no value in 2 events, the first at entry 0"
    ):
        run([file], sample=sample)
    columns, _ = run([file], sample=sample, data={"selection": {"any": "count(part_px) > 0"}})
    assert columns.events == 4


def test_runs_trees_normalise_a_skim(tmp_path, run, ntuple, write_tree):
    # 3000 generated, of which the files hold 10 each; (1 pb · 1000 + 4 pb · 2000) / 3000 = 3 pb
    files = [
        write_tree(
            tmp_path / f"{i}.root",
            ntuple(10 * i, 10 * i + 10),
            runs={"sum": np.array([total]), "xs": np.array([xs])},
        )
        for i, (total, xs) in enumerate([(1000.0, 1.0), (2000.0, 4.0)])
    ]
    schema = {"tree": "tree", "identity": [["event"]],
              "runs": {"tree": "runs", "sum_of_weights": "sum", "cross_section": "xs"}}  # fmt: skip
    columns, flow = run(files, schema=schema, sample={"cross_section": None})
    assert flow["cross_section"] == pytest.approx(3)
    np.testing.assert_allclose(columns["weight"], 0.5 * 3e3 / 3000)


def test_cylindrical_particles_equal_cartesian_ones_and_mev_are_converted(
    tmp_path, run, write_tree
):
    import awkward as ak

    random = np.random.default_rng(5)
    pt, eta, phi, mass = (random.uniform(*r, 40) for r in ((1, 90), (-3, 3), (-3, 3), (0, 5)))
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + mass**2)
    flat = {"px": px, "py": py, "pz": pz, "e": energy, "pt": pt, "eta": eta, "phi": phi, "m": mass}
    flat |= {f"{name}_mev": 1e3 * flat[name] for name in ("px", "py", "pz", "m")}
    part = ak.zip({k: ak.unflatten(v, [10] * 4) for k, v in flat.items()})
    file = write_tree(tmp_path / "a.root", {"event": np.arange(4), "part": part})
    systems = {
        "cartesian": {"px": "part_px", "py": "part_py", "pz": "part_pz", "energy": "part_e"},
        "with_mass": {"pt": "part_pt", "eta": "part_eta", "phi": "part_phi", "mass": "part_m"},
        "with_energy": {"pt": "part_pt", "eta": "part_eta", "phi": "part_phi", "energy": "part_e"},
        "mev": {"px": "part_px_mev", "py": "part_py_mev", "pz": "part_pz_mev",
                "mass": "part_m_mev", "unit": "MeV"},
    }  # fmt: skip
    values = {}
    for name, particles in systems.items():
        schema = {"tree": "tree", "identity": [["event"]], "particles": particles}
        columns, _ = run([file], {"n": "count(part_px)"}, schema=schema, folder=name)
        values[name] = columns.particles().values
    for name in systems:
        np.testing.assert_allclose(values[name], values["cartesian"], rtol=2e-6)


def test_a_quantity_in_mev_is_a_thousandth_in_gev(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(1, 5))
    branches = {"jet_pt": {"expression": "pt", "unit": "MeV"}, "tight": "good"}
    schema = {"tree": "tree", "identity": [["event"]], "branches": branches}
    columns, _ = run([file], {"pt": "jet_pt", "both": "where(tight, jet_pt, 0)"}, schema=schema)
    np.testing.assert_allclose(columns["pt"], [0.01, 0.02, 0.03, 0.04], rtol=1e-6)
    np.testing.assert_allclose(columns["both"], [0, 0.02, 0, 0.04], rtol=1e-6)


def test_a_variable_hides_a_branch_for_those_below_it(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(1, 4))
    columns, _ = run([file], {"pt": "pt / 10", "double": "2 * pt"})
    assert columns["double"].tolist() == [2, 4, 6]


@pytest.fixture(name="broken")
def _broken(tmp_path, ntuple, write_tree):
    """Events 2 and 5 have pt NaN and infinite."""
    branches = ntuple(0, 8)
    branches["pt"][[2, 5]] = np.nan, np.inf
    return write_tree(tmp_path / "broken.root", branches)


def test_nan_is_an_error_by_default(run, broken):
    with pytest.raises(
        InputError,
        match=r"broken\.root: NaN, .* values in 'pt' \(2 events, first at entry 2\), among",
    ):
        run([broken])


def test_nan_is_dropped_and_counted_on_request(run, broken):
    columns, flow = run([broken], data={"invalid": "drop"})
    assert columns["pt"].tolist() == [0, 10, 30, 40, 60, 70]
    assert flow["steps"][-1]["step"] == "valid values"
    assert flow["steps"][-1]["raw"] == 6
    assert columns.particles().offsets.tolist() == [0, 0, 1, 4, 4, 6, 9]


CARTESIAN = {"px": "p_x", "py": "p_y", "pz": "p_z", "energy": "p_e", "fields": {"d0": "p_d0"}}
CYLINDRICAL = {"pt": "p_x", "eta": "p_y", "phi": "p_z", "mass": "p_e", "fields": {"d0": "p_d0"}}


@pytest.mark.parametrize(
    ("particles", "branch", "value", "blamed"),
    [
        (CARTESIAN, "x", np.nan, "branch 'p_x' of the particles"),
        (CARTESIAN, "e", np.inf, "branch 'p_e' of the particles"),
        (CARTESIAN, "e", -0.5, "branch 'p_e' of the particles (negative energy)"),
        (CARTESIAN, "d0", np.nan, "branch 'p_d0' of the particles"),
        (CARTESIAN, "y", 1e300, "particles.py (too large for single precision)"),
        (CYLINDRICAL, "y", np.nan, "branch 'p_y' of the particles"),
        (CYLINDRICAL, "y", 1e3, "particles.pz (too large for single precision)"),
    ],
)
def test_broken_particles_are_named_by_file_entry_and_branch(
    tmp_path, run, write_tree, particles, branch, value, blamed
):
    import awkward as ak

    good = ak.Array([[1.0], [], [2.0], [4.0], [], [2.0, 1.0, 1.0], [4.0]])
    columns = {name: good for name in ("x", "y", "z", "e", "d0")}
    columns[branch] = ak.Array([[1.0], [], [2.0], [4.0], [], [2.0, value, 1.0], [4.0]])
    branches = {"event": np.arange(7), "p": ak.zip(columns)}
    schema = {"tree": "tree", "identity": [["event"]], "particles": particles}
    file = write_tree(tmp_path / "a.root", branches)
    # the first two events are selected away: entries are those of the file
    common = {"schema": schema, "data": {"selection": {"later": "event > 1"}}}
    message = re.escape(f"a.root: NaN, infinite, missing or impossible values in {blamed} (1 ")
    with pytest.raises(InputError, match=message + r"events, first at entry 5\)[,;]"):
        run([file], {"x": "event"}, **common)
    common["data"]["invalid"] = "drop"
    columns, flow = run([file], {"x": "event"}, **common)
    assert columns["x"].tolist() == [2, 3, 4, 6]
    assert np.isfinite(columns.particles().values).all()
    assert [step["raw"] for step in flow["steps"]] == [7, 5, 4]


def test_the_entry_of_a_broken_particle_is_counted_through_chunks(
    tmp_path, run, ntuple, write_tree, monkeypatch
):
    import awkward as ak

    branches = ntuple(0, 300)
    px = branches["part"]["px"].layout.content.data
    px[-1] = np.nan  # a particle of the last event
    assert np.isnan(ak.flatten(branches["part"]["px"])[-1])
    file = write_tree(tmp_path / "a.root", branches)
    monkeypatch.setattr(ntuples, "CHUNK", 500)
    with pytest.raises(InputError, match=r"branch 'part_px' .*\(1 events, first at entry 299\)"):
        run([file])


def test_missing_values_of_variables_are_invalid(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    with pytest.raises(InputError, match=r"'first' \(2 events, first at entry 0\)"):
        run([file], {"first": "part_px[0]"})


def test_nothing_left_shows_the_cutflow_and_leaves_no_folder(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    steps = {"hard": "pt > 30", "harder": "pt > 1000"}
    with pytest.raises(
        InputError, match=r"no event is left \(all events: 6 → hard: 2 → harder: 0\)"
    ):
        run([file], data={"selection": steps})
    assert not (tmp_path / "columns").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.root"]


def test_an_empty_tree_is_an_error(tmp_path, run, ntuple, write_tree):
    files = [write_tree(tmp_path / f"{n}.root", ntuple(0, n)) for n in (3, 0)]
    with pytest.raises(InputError, match=r"0\.root: tree 'tree' is empty; leave the file out"):
        run(files)


def test_an_empty_skim_counts_in_the_normalisation(tmp_path, run, ntuple, write_tree):
    """Half of the generated events are in a file of which no event survived the skim."""
    generated = {"sumw": np.array([1000.0])}
    files = [
        write_tree(tmp_path / f"{events}.root", ntuple(0, events), runs=generated)
        for events in (4, 0)
    ]
    runs = {"tree": "runs", "sum_of_weights": "sumw"}
    schema = {"tree": "tree", "identity": [["run", "event"]], "weight": "w", "runs": runs}
    # 0.5 fb⁻¹ x 2 pb = 1000 events from Σw = 2000; event 3 has w = -1
    columns, _ = run(files, schema=schema)
    np.testing.assert_allclose(columns["weight"], [0.5, 0.5, 0.5, -0.5])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_weights_are_an_error_whatever_the_policy(tmp_path, run, ntuple, write_tree, value):
    branches = ntuple(0, 6)
    branches["w"][4] = value
    file = write_tree(tmp_path / "a.root", branches)
    with pytest.raises(
        InputError, match=r"a\.root: 1 event weights are NaN.* entry 4; mend samples.top.weight"
    ):
        run([file], data={"invalid": "drop"})


def test_identity_must_be_the_same_in_all_files(tmp_path, run, ntuple, write_tree):
    schema = {"tree": "tree", "identity": [["run", "event"], ["event"]], "weight": "w"}
    other = ntuple(6, 9)
    del other["run"]
    files = [write_tree(tmp_path / "a.root", ntuple(0, 6)), write_tree(tmp_path / "b.root", other)]
    with pytest.raises(
        InputError,
        match=r"b\.root: events are identified by \['event'\], but by \['run', 'event'\]",
    ):
        run(files, schema=schema)
    with pytest.raises(
        InputError, match=r"b\.root: tree 'tree' lacks the branches that identify an event"
    ):
        run(files)


def test_jagged_identity_is_an_error(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    schema = {"tree": "tree", "identity": [["part_px"]]}
    with pytest.raises(
        InputError, match=r"a\.root: data.schema.identity: branch 'part_px' is not one number"
    ):
        run([file], schema=schema)


def test_a_file_given_twice_is_an_error(tmp_path, run, ntuple, write_tree):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    with pytest.raises(InputError, match=r"samples.top.files: .*a\.root given twice"):
        run([file, file])
    other_name = tmp_path / "folder" / ".." / "a.root"
    other_name.parent.parent.mkdir()
    with pytest.raises(InputError, match=r"a\.root given twice"):
        run([file, other_name])


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("part_px", r"a\.root: data.variables.x: expression 'part_px': several values per event"),
        ("ptt + 1", r"no branch 'ptt' \(nearest: pt.*asked for by data.variables.x"),
        ("y", "a variable sees those above it only"),
        ("pt.tolist()", "data.variables.x: .*cannot be called"),
    ],
)
def test_wrong_variables_name_file_key_and_mend(
    tmp_path, run, ntuple, write_tree, expression, message
):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    with pytest.raises(InputError, match=message):
        run([file], {"x": expression, "y": "pt"})
    assert not (tmp_path / "columns").exists()


def test_every_wrong_expression_is_named_at_once(run):
    with pytest.raises(InputError) as caught:
        run([], {"x": "a +", "y": "f(b)"}, data={"selection": {"s": "c = 1"}})
    assert [line.split(": ")[0] for line in str(caught.value).splitlines()] == [
        "data.selection.s",
        "data.variables.x",
        "data.variables.y",
    ]


@pytest.mark.parametrize("percent", [10, 60, 97])
def test_a_truncated_file_leaves_no_folder(tmp_path, run, ntuple, write_tree, percent):
    good = write_tree(tmp_path / "good.root", ntuple(0, 10))
    bad = tmp_path / "bad.root"
    write_tree(bad, ntuple(10, 3000))
    content = bad.read_bytes()
    bad.write_bytes(content[: len(content) * percent // 100])
    with pytest.raises(InputError, match=r"bad\.root: .*truncated"):
        run([good, bad])
    assert not (tmp_path / "columns").exists()


def test_a_failure_keeps_the_older_folder(tmp_path, run, ntuple, write_tree, make_job):
    file = write_tree(tmp_path / "a.root", ntuple(0, 6))
    run([file])
    with pytest.raises(InputError):
        make_columns(make_job({"x": "nothing"}), [file], tmp_path / "columns")
    assert open_columns(tmp_path / "columns").names[-1] == "pt"
