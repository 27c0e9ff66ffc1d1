import json

import numpy as np
import pytest

from hepml.artifacts import new_file, new_folder, sha256, write_json


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "a.txt"
    with new_file(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.suffix == ".txt"
    assert path.read_text() == "new"


@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_leaves_what_was_there(tmp_path, old):
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old)

    def fail():
        with new_file(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [p.name for p in tmp_path.iterdir()] == (["a.txt"] if old else [])
    assert not old or path.read_text() == old


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "f"
    for name in ("one", "two"):
        with new_folder(path) as temporary:
            (temporary / name).touch()
    assert [p.name for p in path.iterdir()] == ["two"]


def test_a_failure_keeps_the_older_folder(tmp_path):
    path = tmp_path / "f"
    with new_folder(path) as temporary:
        (temporary / "two").touch()

    def fail():
        with new_folder(path) as temporary:
            (temporary / "three").touch()
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [p.name for p in tmp_path.rglob("*")] == ["f", "two"]


def test_json_round_trip(tmp_path):
    content = {"µ": [1, 2.5, None, True], "b": {"c": "x"}}
    write_json(tmp_path / "a.json", content)
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == content


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_json_has_no_nan(tmp_path, value):
    with pytest.raises(ValueError, match=r"a\.json: not a finite number at \.b\[1\]\.c"):
        write_json(tmp_path / "a.json", {"a": 1, "b": [0, {"c": float(value)}]})
    assert not list(tmp_path.iterdir())


# FIPS 180-4: SHA-256 of "abc"
def test_sha256_published_value(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )
