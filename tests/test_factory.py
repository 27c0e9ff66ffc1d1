"""A user's function is found by its name, and nothing is run for that."""

import sys

import pytest

from hepml.errors import InputError
from hepml.factory import locate

SOURCE = """
from pathlib import Path
Path("RAN").touch()
def build(features): ...
class Network: ...
shifted = lambda features: None
if True:
    def inside(): ...
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_model.py").write_text(SOURCE)
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/own.py").write_text("from my_model import build\n")


@pytest.mark.parametrize(
    ("factory", "file"),
    [
        ("my_model:build", "my_model.py"),
        ("my_model.py:build", "my_model.py"),
        ("my_model.py:Network", "my_model.py"),
        ("my_model:shifted", "my_model.py"),
        ("my_model:inside", "my_model.py"),
        ("deep/own.py:build", "deep/own.py"),
        ("deep.own:build", "deep/own.py"),
    ],
)
def test_files_are_found_and_not_run(tmp_path, factory, file):
    place = locate(factory)
    assert (str(place.file), place.function, place.module) == (file, factory.split(":")[1], "")
    assert not (tmp_path / "RAN").exists()


def test_names_that_come_by_a_star_are_known_when_it_runs(tmp_path):
    (tmp_path / "stars.py").write_text("from my_model import *\n")
    assert locate("stars:whatever").function == "whatever"


def test_a_file_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert locate(f"{tmp_path}/my_model.py:build").file == tmp_path / "my_model.py"


def test_installed_modules_are_found_without_their_packages(tmp_path, monkeypatch):
    package = tmp_path / "site/some_package"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner/__init__.py").write_text("raise SystemExit('imported')")
    (package / "inner/nets.py").write_text("def build(): ...")
    monkeypatch.syspath_prepend(tmp_path / "site")
    place = locate("some_package.inner.nets:build")
    assert place.file == package / "inner/nets.py"
    assert place.module == "some_package.inner.nets"
    assert "some_package" not in sys.modules


def test_a_file_beside_comes_before_an_installed_module(tmp_path):
    (tmp_path / "json.py").write_text("def loads(): ...")
    assert str(locate("json:loads").file) == "json.py"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("my_modle.py:build", r"no file my_modle.py in .*; nearest: my_model.py"),
        ("my_modle:build", r"no file my_modle.py in .*no installed module my_modle; nearest"),
        ("deep/onw.py:build", r"no file deep/onw.py in .*; nearest: deep/own.py"),
        ("nowhere/x.py:build", r"no file nowhere/x.py in .*; there are none"),
        ("hepml.nowhere.x:build", r"no file hepml/nowhere/x.py .*no installed module hepml.nowher"),
        ("math:sqrt", "no installed module math"),  # not written in Python
        ("my_model:biuld", r"my_model.py defines no 'biuld' \(nearest: build\)"),
    ],
)
def test_what_is_not_there_is_named_with_the_nearest(factory, message):
    with pytest.raises(InputError, match=message) as caught:
        locate(factory)
    assert str(caught.value).startswith(f"{factory}: ")


@pytest.mark.parametrize("source", [b"def build(:\n", b"x = 1\ny = (\n", b"\xff\xfe", b"\x00"])
def test_what_is_no_python_is_refused(tmp_path, source):
    (tmp_path / "my_model.py").write_bytes(source)
    with pytest.raises(InputError, match=r"my_model:build: my_model.py.* is no Python"):
        locate("my_model:build")
