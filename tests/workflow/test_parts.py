"""A sample of many files: read by several jobs, joined, and read again no more than needed."""

import json
import os

import numpy as np
import pytest
import uproot
import yaml

from hepml.records import digest

SYSTEMATICS = {
    "scale": {"objects": {"up": {"branches": {"x": "x + 0.1"}}}, "one_sided": True},
    "factor": {"weight": {"up": 1.1, "down": 0.9}, "samples": ["s"]},
}


def write(path, start):
    with uproot.recreate(path) as file:
        event = np.arange(start, start + 20)
        file.mktree("tree", {"event": event.dtype, "x": "f8"})
        file["tree"].extend({"event": event, "x": np.sin(event)})


@pytest.fixture(scope="module", name="config")
def _config(workflow):
    """Seven files of the signal and two of the background, of which a job may read three."""
    (workflow.folder / "ntuples").mkdir()
    for name, number in (("s", 7), ("b", 2)):
        for i in range(number):
            write(workflow.folder / f"ntuples/{name}{i}.root", 20 * i)
    settings = yaml.safe_load((workflow.folder / "config/quick.yaml").read_text())
    settings |= {
        "analysis": "parts",
        "samples": {
            name: {"role": role, "files": [f"ntuples/{name}*.root"], "cross_section": 2.3}
            for name, role in (("s", "signal"), ("b", "background"))
        },
        "systematics": SYSTEMATICS,
        "data": {
            "schema": {"tree": "tree", "identity": [["event"]]},
            "variables": {"x": "x"},
            "particles": False,
            "files_per_job": 3,
        },
        "cuts": [{"variable": "x", "keep": "above"}],
        "models": {"mlp": {"architecture": "mlp", "features": ["x"]}},
        "inference": {"background_uncertainty": 0.1},
        "plots": {},
    }
    path = workflow.folder / "parts.yaml"
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


COLUMNS = ("s", "s.weights", "s.scale_up")


@pytest.fixture(scope="module", name="joined")
def _joined(workflow, config):
    """All columns of the analysis have been made."""
    targets = [f"results/parts/data/{name}" for name in COLUMNS]
    workflow.run(*targets, "--configfile", config)
    return targets


def reruns(workflow, config, *targets):
    """Jobs of the data stage that a dry run would do, and its parts by name."""
    printed = workflow.run("-n", *targets, "--configfile", config)
    lines = [line.strip() for line in printed.splitlines()]
    made = [line.split("parts/data/")[1] for line in lines if line.startswith("output: ")]
    return sorted(made)


def one_job(config, folder):
    """The same config with one job for each sample, for another analysis."""
    text = config.read_text().replace("files_per_job: 3", "files_per_job: 7")
    path = config.with_name(f"{folder}.yaml")
    path.write_text(text.replace("analysis: parts", f"analysis: {folder}"))
    return path


def test_only_samples_of_many_files_are_read_in_parts(workflow, config):
    jobs = workflow.rerun("--configfile", config)
    # three parts of the signal, of its copy with weights and of its changed copy
    assert jobs["data_part"] == 3 * 3
    assert jobs["merge_data"] == 3
    assert (jobs["data"], jobs["data_varied"]) == (1, 1)
    assert "data_weights" not in jobs
    whole = workflow.rerun("--configfile", one_job(config, "whole"))
    assert not whole.keys() & {"data_part", "merge_data"}
    assert (whole["data"], whole["data_varied"], whole["data_weights"]) == (2, 2, 1)
    for rule in ("data", "data_varied", "data_weights", "data_part", "merge_data", "total"):
        jobs.pop(rule, None)
        whole.pop(rule, None)
    assert jobs == whole


def test_thousands_of_files_are_planned_and_no_command_names_them_all(workflow, config):
    """Linux takes no word of a command beyond 128 kB, and a whole command is one word to bash."""
    folder = workflow.folder / "many"
    folder.mkdir()
    for i in range(3000):
        (folder / f"a_name_as_long_as_those_of_grid_productions_{i:06}.root").touch()
    text = config.read_text().replace("ntuples/s*", "many/*").replace("per_job: 3", "per_job: 100")
    path = config.with_name("many.yaml")
    path.write_text(text.replace("analysis: parts", "analysis: many"))
    printed = workflow.run("-n", "-p", "--configfile", path)
    commands = [line for line in printed.splitlines() if "hepml " in line]
    assert sum(" --part " in line for line in commands) == 3 * 30
    assert max(len(line.encode()) for line in commands) < 2**17


@pytest.mark.slow
def test_joined_columns_are_those_of_one_job(workflow, config, joined):
    whole = one_job(config, "single")
    singles = [target.replace("/parts/", "/single/") for target in joined]
    workflow.run(*singles, "--configfile", whole)
    for one, other in zip(singles, joined, strict=True):
        assert digest(workflow.folder / one) == digest(workflow.folder / other)
    flow = json.loads((workflow.folder / joined[0] / "cutflow.json").read_text())
    assert flow["steps"][0]["raw"] == 7 * 20


@pytest.mark.slow
def test_a_changed_file_has_its_own_part_read_again(workflow, config, joined):
    path = workflow.folder / "ntuples/s4.root"
    before = path.stat()
    try:
        write(path, 1000)
        wanted = [*COLUMNS, *(f"{name}.parts/1" for name in COLUMNS)]
        assert reruns(workflow, config, *joined) == sorted(wanted)
    finally:
        write(path, 80)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.slow
def test_a_file_that_is_replaced_by_an_older_one_is_noticed(workflow, config, joined):
    """As `rsync -a` and `tar` leave it; Snakemake alone compares times."""
    path = workflow.folder / "ntuples/s6.root"
    content, before = path.read_bytes(), path.stat()
    try:
        write(path, 10**6)
        path.write_bytes(path.read_bytes() + b"\0")
        os.utime(path, ns=(0, before.st_mtime_ns - 10**12))
        assert reruns(workflow, config, joined[0]) == ["s", "s.parts/2"]
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.slow
def test_a_file_that_is_added_has_the_last_part_read_again(workflow, config, joined):
    path = workflow.folder / "ntuples/s7.root"
    write(path, 140)
    try:
        assert reruns(workflow, config, joined[0]) == ["s", "s.parts/2"]
    finally:
        path.unlink()


@pytest.mark.slow
def test_parts_may_be_removed(workflow, config, joined):
    """Nothing is read again for their sake; but all of a sample where one of its files changes."""
    for part in (workflow.folder / "results/parts/data/s.parts").iterdir():
        if part.name != ".made":
            for file in part.iterdir():
                file.unlink()
            part.rmdir()
    assert reruns(workflow, config, *joined) == []
    said = explained(workflow, joined[0], config)
    assert "the same would be made" in said
    assert "made by   rule merge_data: hepml merge-data" in said


@pytest.mark.slow
def test_what_made_joined_columns_is_told_back_to_the_ntuples(workflow, config, joined):
    """Through parts that were removed as well."""
    path = workflow.folder / "ntuples/s4.root"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    try:
        said = explained(workflow, joined[0], config).splitlines()
    finally:
        path.write_bytes(content)
    where = said.index("made of what is out of date itself:")
    assert said[where + 1 :] == [f"  {joined[0]}.parts/1", "    input ntuples/s4.root: changed"]


def explained(workflow, target, config):
    """What `hepml explain` says."""
    return workflow.hepml("explain", target, "--config", config)
