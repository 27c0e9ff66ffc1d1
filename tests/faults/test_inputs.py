"""Ntuples that vanish, are replaced or change while they are read."""

import json
import shutil

import numpy as np
import pytest
import uproot

from hepml.config import DataJob
from hepml.configfile import parse
from hepml.jobs import data_settings

# the file is read in many chunks; after the second one, something happens
PRELUDE = """
import os, shutil
from hepml.data import ntuples, stage

ntuples.CHUNK = 20_000
real, calls = stage.append_chunk, []

def disturbed(*arguments):
    real(*arguments)
    calls.append(1)
    if len(calls) == 2:
        {event}

stage.append_chunk = disturbed
"""
# what happens: the statement, and what the message must say of a.root
EVENTS = {
    "vanishes": ("os.remove('a.root')", "changed, or gone"),
    "is replaced": ("os.replace('other.root', 'a.root')", "changed, or gone"),
    "is overwritten": ("shutil.copyfile('other.root', 'a.root')", ""),
    "is cut off": ("os.truncate('a.root', 100_000)", "cannot be read"),
    "next one vanishes": ("os.remove('b.root')", ""),
}


def write(path, seed):
    """A tree of 30,000 events in 30 baskets, which are read as they are needed."""
    random = np.random.default_rng(seed)
    with uproot.recreate(path) as file:
        file.mktree("tree", {"event": "i8", "x": "f8"})
        for start in range(0, 30_000, 1000):
            event = np.arange(start, start + 1000)
            file["tree"].extend({"event": event, "x": random.normal(size=1000)})


@pytest.fixture(name="step")
def _step(tmp_path, monkeypatch, step_type):
    """Reads a.root and b.root; other.root could take the place of one."""
    (tmp_path / "ntuples").mkdir()
    monkeypatch.chdir(tmp_path / "ntuples")
    for seed, name in enumerate(("a", "b", "other")):
        write(f"{name}.root", seed)
    content = {
        "name": "s",
        "sample": {"role": "signal", "files": ["a.root", "b.root"], "cross_section": 1},
        "data": {
            "schema": {"tree": "tree", "identity": [["event"]]},
            "variables": {"x": "x"},
        },
        "luminosity": 1,
        "folds": 3,
    }
    settings = data_settings(parse(DataJob, json.dumps(content), "job"))
    output = tmp_path / "columns"
    command = ("data", "a.root", "b.root", "--settings", settings, "--output", str(output))
    return step_type(command, output)


@pytest.mark.parametrize("what", EVENTS)
def test_a_file_that_changes_in_mid_read_is_named_and_nothing_is_left(tmp_path, step, what):
    assert step.run()[0] == 0
    undisturbed = step.digest()
    shutil.rmtree(step.output)
    shutil.rmtree(step.output.parent / ".made")
    shutil.copytree(".", tmp_path / "whole")
    event, message = EVENTS[what]
    code, said = step.run(prelude=PRELUDE.format(event=event))
    name = "b.root" if what == "next one vanishes" else "a.root"
    assert code == 1, said
    assert said.startswith(f"hepml: {name}")
    assert message in said
    assert len(said.splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ntuples", "whole"]
    shutil.copytree(tmp_path / "whole", ".", dirs_exist_ok=True)
    code, said = step.run()
    assert code == 0, said
    assert step.digest() == undisturbed
