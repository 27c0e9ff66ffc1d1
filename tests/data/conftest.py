import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hepml.config import DataJob
from hepml.configfile import parse
from hepml.data.ntuples import Chunk
from hepml.data.stage import make_columns
from hepml.data.store import open_columns

REAL_FILES = Path(__file__).parents[3] / "shared" / "data"
SCHEMA = {
    "tree": "tree",
    "identity": [["run", "event"]],
    "weight": "w",
    "particles": {"px": "part_px", "py": "part_py", "pz": "part_pz"},
}


def _ntuple(start=0, stop=10):
    """Events start..stop: pt = 10 · event, i particles in event i (at most 3), weight ±1.

    Every fourth weight is negative.
    """
    event = np.arange(start, stop)
    counts = event % 4
    total = int(counts.sum())
    number = np.arange(total, dtype=np.float32)
    jagged = {
        "px": 3 + number,
        "py": 4 + 0 * number,
        "pz": 12 + 0 * number,
        "charge": (-1.0) ** number,
    }
    return {
        "run": np.full(len(event), 7, np.int32),
        "event": event.astype(np.int64),
        "pt": (10 * event).astype(np.float32),
        "n": (event % 3).astype(np.uint32),
        "good": event % 2 == 0,
        "w": np.where(event % 4 == 3, -1.0, 1.0).astype(np.float32),
        "part": ak.zip({k: ak.unflatten(v.astype(np.float32), counts) for k, v in jagged.items()}),
    }


def _write_tree(path, branches, tree="tree", **more_trees):
    """Write TTrees (uproot's own default is an RNTuple)."""
    with uproot.recreate(path) as file:
        for name, content in {tree: branches, **more_trees}.items():
            types = {
                key: value.type.content if isinstance(value, ak.Array) else value.dtype
                for key, value in content.items()
            }
            file.mktree(name, types)
            if len(next(iter(content.values()))):
                file[name].extend(content)
    return str(path)


def _as_chunk(**arrays):
    """Lists as the branches of one chunk."""
    arrays = {name: ak.Array(values) for name, values in arrays.items()}
    return Chunk("test.root", 0, len(next(iter(arrays.values()))), arrays)


def _make_job(variables=None, *, schema=None, sample=None, data=None, folds=5, name="top", **more):
    """Settings of the data stage, changed where a test says so."""
    content = {
        "name": name,
        "sample": {"role": "signal", "files": ["unused.root"], "cross_section": 2} | (sample or {}),
        "data": {"schema": schema or SCHEMA, "variables": variables or {"pt": "pt"}} | (data or {}),
        "luminosity": 0.5,
        "folds": folds,
    } | more
    return parse(DataJob, json.dumps(content), "job")


@pytest.fixture(name="ntuple")
def _ntuple_fixture():
    return _ntuple


@pytest.fixture(name="write_tree")
def _write_tree_fixture():
    return _write_tree


@pytest.fixture(name="as_chunk")
def _as_chunk_fixture():
    return _as_chunk


@pytest.fixture(name="make_job")
def _make_job_fixture():
    return _make_job


@pytest.fixture(name="run")
def _run(tmp_path):
    """Run the stage on files; gives the columns and the cut-flow."""

    def run(files, *arguments, folder="columns", **changes):
        output = tmp_path / folder
        make_columns(_make_job(*arguments, **changes), list(map(str, files)), output)
        return open_columns(output), json.loads((output / "cutflow.json").read_text())

    return run


@pytest.fixture(name="real_file")
def _real_file():
    """Path of a real ROOT file, by name."""

    def find(name):
        path = REAL_FILES / name
        if not path.is_file():
            pytest.skip(f"{name} is not in ../shared/data beside the repository")
        return str(path)

    return find
