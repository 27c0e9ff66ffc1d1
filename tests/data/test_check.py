import copy

import numpy as np
import pytest
import yaml

from hepml.configfile import data_jobs
from hepml.data.check import problems
from hepml.data.stage import make_columns
from hepml.errors import InputError

CONFIG = {
    "analysis": "mine",
    "title": "Mine",
    "luminosity": 1,
    "seed": 1,
    "samples": {
        "signal": {"role": "signal", "files": ["s.root"], "cross_section": 1},
        "background": {"role": "background", "files": ["b*.root"], "cross_section": 50},
    },
    "data": {
        "schema": {
            "tree": "tree",
            "identity": [["run", "event"]],
            "weight": "w",
            "particles": {"px": "part_px", "py": "part_py", "pz": "part_pz"},
        },
        "variables": {"pt": "pt", "lead": "alt(part_px[0], 0)"},
        "selection": {"some": "pt > 10"},
    },
    "cuts": [{"variable": "pt", "keep": "above"}],
    "models": {"mlp": {"architecture": "mlp", "features": ["pt"]}},
    "inference": {"background_uncertainty": 0.1},
}


@pytest.fixture(name="check")
def _check(tmp_path, monkeypatch, ntuple, write_tree):
    """All problems of CONFIG, changed by a function, with three good files beside it."""
    for number, name in enumerate(("s", "b1", "b2")):
        write_tree(tmp_path / f"{name}.root", ntuple(20 * number, 20 * number + 20))
    monkeypatch.chdir(tmp_path)

    def check(change):
        config = copy.deepcopy(CONFIG)
        change(config)
        (tmp_path / "a.yaml").write_text(yaml.safe_dump(config))
        jobs, found = data_jobs(tmp_path / "a.yaml")
        return found + problems(jobs)

    return check


def test_a_good_analysis_has_no_problems(check):
    assert check(dict) == []


def test_an_own_network_is_looked_for_and_not_run(check, tmp_path):
    (tmp_path / "mine.py").write_text("raise SystemExit\ndef build(features): ...\n")
    own = {"factory": "mine.py:build", "inputs": "features", "features": ["pt"]}

    def change(config):
        config["models"] |= {"good": own, "bad": own | {"factory": "mien.py:build"}}

    (message,) = check(change)
    assert message.startswith("models.bad.factory: mien.py:build: there is no file mien.py in ")
    assert message.endswith("nearest: mine.py")


def test_problems_of_config_and_of_files_come_together(check):
    def change(config):
        config["luminosity"] = -1
        config["samples"]["signal"]["cross_sektion"] = 3
        config["samples"]["background"]["files"] = ["b1.root", "gone/*.root"]
        config["data"]["variables"] |= {"bad": "ptt + 1", "many": "part_px"}

    text = "\n".join(check(change))
    assert "a.yaml: luminosity: Input should be greater than 0" in text
    assert (
        "a.yaml: samples.signal.cross_sektion: unknown key; did you mean 'cross_section'?" in text
    )
    assert "samples.background.files: no file matches 'gone/*.root'" in text


def test_problems_of_all_files_come_at_once(check, tmp_path, ntuple, write_tree):
    write_tree(tmp_path / "b1.root", ntuple(0, 0))
    (tmp_path / "b2.root").write_bytes(b"nothing")
    write_tree(tmp_path / "b3.root", ntuple(0, 5), "three")

    def change(config):
        config["data"]["selection"]["jagged"] = "part_px > 3"
        config["data"]["variables"]["wrong"] = "ptt + 1"
        config["data"]["variables"]["odd"] = "sum(pt)"

    text = "\n".join(check(change))
    assert "s.root: data.selection.jagged: expression 'part_px > 3': several values" in text
    assert "s.root: data.variables.odd: expression 'sum(pt)': sum() goes over" in text
    assert "s.root: tree 'tree' has no branch 'ptt' (nearest: pt" in text
    assert "b1.root: tree 'tree' is empty" in text
    assert "b2.root: not a readable ROOT file" in text
    assert "b3.root: no tree 'tree' (nearest: three)" in text


def test_every_missing_branch_of_every_file_is_named_with_its_key(
    check, tmp_path, ntuple, write_tree
):
    other = ntuple(0, 5)
    del other["run"], other["w"], other["part"]
    write_tree(tmp_path / "b2.root", other)
    found = check(dict)
    assert all("b2.root" in line for line in found)
    for branch, key in (("w", "schema.weight"), ("part_px", "schema.particles")):
        (line,) = [line for line in found if f"no branch '{branch}'" in line]
        assert line.endswith(f"asked for by data.{key}") or branch == "part_px"
    assert any("lacks the branches that identify an event" in line for line in found)


def test_ways_to_identify_events_must_not_be_mixed(check, tmp_path, ntuple, write_tree):
    other = ntuple(0, 5)
    del other["run"]
    write_tree(tmp_path / "b2.root", other)
    (line,) = check(lambda c: c["data"]["schema"].update(identity=[["run", "event"], ["event"]]))
    assert line.startswith("samples.background: events are identified in different ways: ")


def test_what_lacks_for_the_normalisation(check):
    (line,) = check(lambda config: config["samples"]["signal"].pop("cross_section"))
    assert line.startswith("samples.signal: no cross-section")
    runs = {"tree": "runs", "sum_of_weights": "sum"}
    found = check(lambda config: config["data"]["schema"].update(runs=runs))
    assert all("no tree 'runs' (nearest" in line or "no tree 'runs'" in line for line in found)
    assert len(found) == 3


def test_a_file_matched_twice_is_a_problem(check):
    found = check(lambda c: c["samples"]["background"].update(files=["b*.root", "b1.root"]))
    assert found == [
        "samples.background.files: 'b1.root' is matched twice; its events would count twice"
    ]


def test_data_need_no_cross_section(check):
    def change(config):
        config["samples"]["run2"] = {"role": "data", "files": ["b1.root"]}

    assert check(change) == []


def test_what_check_passes_the_stage_reads(check, tmp_path):
    assert check(dict) == []
    jobs, _ = data_jobs(tmp_path / "a.yaml")
    for job in jobs:
        make_columns(
            job, [str(f) for f in sorted(tmp_path.glob(job.sample.files[0]))], tmp_path / job.name
        )
        assert np.load(tmp_path / job.name / "pt.npy").min() > 10


def test_a_config_that_is_no_yaml_stops_the_check(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [")
    with pytest.raises(InputError, match=r"a\.yaml: not valid YAML"):
        data_jobs(tmp_path / "a.yaml")
