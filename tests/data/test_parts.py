"""Files of a sample read by several jobs and joined: the same as by one, to the last bit."""

from itertools import pairwise

import numpy as np
import pytest
import uproot

from hepml.data import store
from hepml.data.stage import make_columns, make_part, merge_parts
from hepml.data.store import open_columns
from hepml.errors import InputError

RUNS = {
    "tree": "runs",
    "sum_of_weights": "sumw",
    "cross_section": "xs",
    "cross_section_error": "dxs",
}
PARTICLES = {
    "px": "part_px",
    "py": "part_py",
    "pz": "part_pz",
    "fields": {"charge": "part_charge"},
}
SCHEMA = {"tree": "tree", "identity": [["run", "event"]], "weight": "w", "particles": PARTICLES}
VARIATION = {"systematic": "jes", "direction": "up", "objects": {"scale": 1.01}}
SAMPLES = {
    "sums of the events": {"schema": SCHEMA},
    "sums of the files": {
        "schema": SCHEMA | {"runs": RUNS},
        "sample": {"cross_section": None, "scale": "1 + 0.1 * n"},
    },
    "data": {"schema": SCHEMA, "sample": {"role": "data", "cross_section": None}},
    "a fixed yield": {
        "schema": SCHEMA,
        "sample": {"cross_section": None, "expected_events": 7.3, "sum_of_weights": 11.7},
    },
    "without particles": {"schema": SCHEMA, "data": {"particles": False}},
    "broken values dropped": {
        "schema": SCHEMA,
        "data": {"invalid": "drop", "selection": {"odd": "n != 1"}},
        "variables": {"pt": "pt", "y": "part_px[0]"},
    },
    "weights varied": {
        "schema": SCHEMA,
        "weights": {"btag": {"up": "1 + pt / 977"}, "pdf": {"up": "1.1", "down": "0.7 + n / 3"}},
    },
    "a changed copy": {"schema": SCHEMA, "variation": VARIATION},
    "only the second file is selected": {
        "schema": SCHEMA,
        "data": {"selection": {"window": "pt >= 60 and pt < 130"}},
    },
}


@pytest.fixture(name="files")
def _files(tmp_path, ntuple, write_tree):
    """Seven files of 6 to 12 events, with weights and sums that no binary fraction holds."""
    random = np.random.default_rng(7)
    paths, edges = [], np.cumsum([0, 6, 7, 12, 8, 9, 6, 11])
    for number, (start, stop) in enumerate(pairwise(edges)):
        branches = ntuple(start, stop)
        size = stop - start
        branches["w"] = random.normal(0.3, 1.7, size)
        sums = {
            "sumw": 3 + random.random(1 + number % 2),
            "xs": 0.1 + random.random(1 + number % 2),
            "dxs": random.random(1 + number % 2),
        }
        paths.append(write_tree(tmp_path / f"{number}.root", branches, runs=sums))
    return paths


def content(folder):
    """Bytes of every file of the columns."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_in_parts(job, files, edges, place):
    """The folder that is joined of files[0:a], files[a:b] and so on."""
    parts = []
    for number, (start, stop) in enumerate(pairwise((0, *edges, len(files)))):
        parts.append(place / f"part{number}")
        make_part(job, files[start:stop], parts[-1])
    merge_parts(job, parts, place / "joined")
    return place / "joined"


@pytest.mark.parametrize("name", SAMPLES)
def test_however_files_are_shared_out_the_columns_are_the_same(tmp_path, files, make_job, name):
    settings = dict(SAMPLES[name])
    job = make_job(settings.pop("variables", {"pt": "pt", "n": "n"}), **settings)
    make_columns(job, files, tmp_path / "one")
    assert open_columns(tmp_path / "one").events > 0
    for number, edges in enumerate([(), (1,), (3, 6), (1, 2, 3, 4, 5, 6)]):
        joined = read_in_parts(job, files, edges, tmp_path / str(number))
        assert content(joined) == content(tmp_path / "one")


def test_the_order_of_these_sums_matters(files):
    """Or the test above could not fail: sums of sums of parts differ in the last bit."""
    sums = [float(uproot.open(file)["tree"]["w"].array(library="np").sum()) for file in files]
    one_by_one = sum_in_order(sums)
    assert sum_in_order([sum_in_order(sums[:3]), sum_in_order(sums[3:6]), sums[6]]) != one_by_one


def sum_in_order(terms):
    total = 0.0  # the built-in sum compensates rounding from Python 3.12 on
    for term in terms:
        total += term
    return total


def test_a_part_is_no_sample(tmp_path, files, make_job):
    make_part(make_job(), files[:2], tmp_path / "part")
    with pytest.raises(InputError, match=r"part: no complete columns here \(columns.json is miss"):
        open_columns(tmp_path / "part")
    make_columns(make_job(), files[:2], tmp_path / "whole")
    with pytest.raises(InputError, match=r"whole: no complete columns here \(part.json is missing"):
        merge_parts(make_job(), [tmp_path / "whole"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_parts_of_which_none_has_an_event_show_the_cutflow_of_all(tmp_path, files, make_job):
    job = make_job(data={"selection": {"hard": "pt > 1e6"}})
    with pytest.raises(InputError, match=r"top: no event is left \(all events: 59 → hard: 0\)"):
        read_in_parts(job, files, (3,), tmp_path)
    assert not (tmp_path / "joined").exists()


def test_identity_must_be_the_same_in_all_parts(tmp_path, ntuple, write_tree, make_job):
    """With the words that one job has for it."""
    schema = {"tree": "tree", "identity": [["run", "event"], ["event"]], "weight": "w"}
    branches = [ntuple(6 * i, 6 * i + 6) for i in range(4)]
    del branches[2]["run"], branches[3]["run"]
    files = [write_tree(tmp_path / f"{i}.root", each) for i, each in enumerate(branches)]
    job = make_job(schema=schema)
    with pytest.raises(InputError) as in_one:
        make_columns(job, files, tmp_path / "one")
    with pytest.raises(InputError) as in_parts:
        read_in_parts(job, files, (2,), tmp_path)
    assert "2.root: events are identified by ['event'], but by ['run', 'event'] in" in str(
        in_one.value
    )
    assert str(in_parts.value) == str(in_one.value)


def test_identity_counts_in_files_without_events_too(tmp_path, ntuple, write_tree, make_job):
    """A part of empty skims, identified otherwise than the files before."""
    runs = {"tree": "runs", "sum_of_weights": "sumw"}
    schema = {"tree": "tree", "identity": [["run", "event"], ["event"]], "runs": runs}
    empty = ntuple(0, 0)
    del empty["run"]
    generated = {"sumw": np.array([2.0])}
    files = [
        write_tree(tmp_path / f"{name}.root", branches, runs=generated)
        for name, branches in (("full", ntuple(0, 5)), ("empty", empty))
    ]
    with pytest.raises(InputError, match=r"empty\.root: events are identified by \['event'\]"):
        read_in_parts(make_job(schema=schema), files, (1,), tmp_path)


def test_a_file_in_two_parts_is_an_error(tmp_path, files, make_job):
    with pytest.raises(InputError, match=r"samples.top.files: .*0\.root given twice"):
        read_in_parts(make_job(), [*files[:2], files[0]], (2,), tmp_path)
    assert not (tmp_path / "joined").exists()


def test_parts_of_other_settings_are_refused(tmp_path, files, make_job):
    make_part(make_job(), files[:2], tmp_path / "part")
    with pytest.raises(InputError, match=r"part: made with other settings; run `hepml data --pa"):
        merge_parts(make_job(luminosity=3), [tmp_path / "part"], tmp_path / "joined")


def test_a_damaged_part_is_named(tmp_path, files, make_job):
    make_part(make_job(), files[:2], tmp_path / "part")
    column = tmp_path / "part/pt.npy"
    column.write_bytes(column.read_bytes()[:-4])
    with pytest.raises(InputError, match=r"part/pt\.npy: "):
        merge_parts(make_job(), [tmp_path / "part"], tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


def test_blocks_are_joined_where_columns_are_larger_than_one(
    tmp_path, files, make_job, monkeypatch
):
    job = make_job()
    make_columns(job, files, tmp_path / "one")
    monkeypatch.setattr(store, "BLOCK", 40)  # five weights, three particles
    assert content(read_in_parts(job, files, (3,), tmp_path)) == content(tmp_path / "one")
    make_columns(job, files, tmp_path / "again")
    assert content(tmp_path / "again") == content(tmp_path / "one")
