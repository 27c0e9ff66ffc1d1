import random
from contextlib import suppress
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hepml.data import ntuples
from hepml.data.ntuples import open_file, open_tree
from hepml.errors import InputError


def read(path, names, tree="tree"):
    """All chunks of a tree, put together again."""
    with open_file(str(path)) as file:
        chunks = list(open_tree(file, str(path), tree).chunks(set(names)))
    starts = [chunk.start for chunk in chunks]
    assert starts == [0, *np.cumsum([chunk.events for chunk in chunks])[:-1]]
    return {name: ak.concatenate([chunk.arrays[name] for chunk in chunks]) for name in names}


def test_chunks_put_together_are_the_tree(tmp_path, monkeypatch, ntuple, write_tree):
    path = write_tree(tmp_path / "a.root", ntuple(0, 500))
    whole = read(path, ["pt", "part_px"])
    monkeypatch.setattr(ntuples, "CHUNK", 300)
    with open_file(path) as file:
        assert len(list(open_tree(file, path, "tree").chunks({"pt", "part_px"}))) > 5
    pieces = read(path, ["pt", "part_px"])
    assert pieces["pt"].tolist() == whole["pt"].tolist() == [10.0 * i for i in range(500)]
    assert pieces["part_px"].tolist() == whole["part_px"].tolist()


@pytest.mark.parametrize("chunk", [100, 1_000_000])
def test_an_rntuple_is_read_like_a_tree(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(ntuples, "CHUNK", chunk)
    path = tmp_path / "a.root"
    content = {"x": np.arange(7.0), "part": ak.zip({"px": ak.Array([[1.0]] * 3 + [[]] * 4)})}
    with uproot.recreate(path) as file:
        file["tree"] = content
        file["tree"].extend(content)
    columns = read(path, ["x", "part.px"])
    assert columns["x"].tolist() == [0, 1, 2, 3, 4, 5, 6] * 2
    assert columns["part.px"].tolist() == ([[1]] * 3 + [[]] * 4) * 2


def test_trees_in_folders_and_cycles(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        for number in (1, 2):
            file.mktree("dir/tree", {"x": np.int64}).extend({"x": np.array([number])})
    assert read(path, ["x"], "dir/tree")["x"].tolist() == [2]
    assert read(path, ["x"], "dir/tree;1")["x"].tolist() == [1]


def test_two_trees_of_one_file(tmp_path, ntuple, write_tree):
    path = write_tree(tmp_path / "a.root", ntuple(0, 3), "sig", bkg=ntuple(5, 7))
    assert read(path, ["event"], "sig")["event"].tolist() == [0, 1, 2]
    assert read(path, ["event"], "bkg")["event"].tolist() == [5, 6]


def test_a_missing_tree_is_named_with_those_that_exist(tmp_path, ntuple, write_tree):
    path = write_tree(tmp_path / "a.root", ntuple())
    with (
        pytest.raises(InputError, match=r"a\.root: no tree 'treee' \(nearest: tree\)"),
        open_file(path) as file,
    ):
        open_tree(file, path, "treee")


def test_every_missing_branch_is_named_with_the_nearest_and_its_key(tmp_path, ntuple, write_tree):
    path = write_tree(tmp_path / "a.root", ntuple())
    with open_file(path) as file, pytest.raises(InputError) as caught:
        open_tree(file, path, "tree").require({"ptt": "data.variables.a", "evnt": "b", "pt": "c"})
    first, second = str(caught.value).splitlines()
    assert "a.root: tree 'tree' has no branch 'evnt' (nearest: event), asked for by b" in first
    assert "no branch 'ptt' (nearest: pt" in second
    assert second.endswith("asked for by data.variables.a")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a readable ROOT file"),
        (b"this is text" * 100, "not a readable ROOT file"),
        (b"root" + b"\0" * 400, "no tree 'tree'"),
    ],
)
def test_what_is_no_root_file_is_said(tmp_path, content, message):
    path = tmp_path / "a.root"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.root: .*{message}"):
        read(path, ["pt"])


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(InputError, match="no such file"), open_file(str(tmp_path / "no.root")):
        pass
    with pytest.raises(InputError, match="a folder, not a file"), open_file(str(tmp_path)):
        pass


@pytest.mark.parametrize("percent", [1, 5, 20, 40, 60, 80, 95, 99])
def test_truncated_files_are_refused(tmp_path, percent, ntuple, write_tree):
    path = tmp_path / "a.root"
    whole = Path(write_tree(path, ntuple(0, 3000))).read_bytes()
    path.write_bytes(whole[: len(whole) * percent // 100])
    with pytest.raises(InputError, match=r"a\.root: .*truncated"):
        read(path, ["pt", "part_px"])


def test_flipped_bits_never_end_in_a_traceback(tmp_path, ntuple, write_tree):
    path = tmp_path / "a.root"
    content = bytearray(Path(write_tree(path, ntuple(0, 300))).read_bytes())
    source = random.Random(3)
    for _ in range(30):
        damaged = bytearray(content)
        for _ in range(8):
            damaged[source.randrange(len(damaged))] ^= 1 << source.randrange(8)
        path.write_bytes(damaged)
        with suppress(InputError):  # any other exception would be a traceback
            columns = read(path, ["pt", "part_px"])
            # the damage fell elsewhere, or on values, which ROOT does not protect
            assert len(columns["pt"]) == 300


def test_xrootd_names_the_extra():
    try:
        import fsspec_xrootd  # noqa: F401
    except ImportError:
        with (
            pytest.raises(InputError, match="pip install 'hepml-workflow\\[xrootd\\]'"),
            open_file("root://example.org//a.root"),
        ):
            pass
    else:
        pytest.skip("xrootd is installed here")
