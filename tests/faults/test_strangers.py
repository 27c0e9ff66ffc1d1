"""Config, networks and toys from a stranger run no code."""

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from hepml.configfile import load
from hepml.data.expressions import parse_expression
from hepml.errors import InputError
from hepml.inference.toys.stage import _read_toys
from hepml.training.checkpoint import load as load_network


class Burglar:
    """Unpickling it makes a folder of the name ``broken_in``."""

    def __reduce__(self):
        return os.mkdir, ("broken_in",)


@pytest.fixture(name="untouched", autouse=True)
def _untouched(tmp_path, monkeypatch):
    """Whatever a test does, nobody may have made this folder."""
    monkeypatch.chdir(tmp_path)
    yield
    assert not Path("broken_in").exists()


def test_the_burglar_would_succeed_where_he_is_let_in():
    pickle.loads(pickle.dumps(Burglar()))
    assert Path("broken_in").is_dir()
    Path("broken_in").rmdir()


def test_a_pickle_is_no_network():
    Path("net").mkdir()
    Path("net/model.safetensors").write_bytes(pickle.dumps(Burglar()))
    Path("net/model.json").write_text("{}")
    with pytest.raises(InputError, match="no readable network"):
        load_network(Path("net"))


def test_a_pickle_is_no_description():
    Path("net").mkdir()
    Path("net/model.json").write_bytes(pickle.dumps(Burglar()))
    with pytest.raises(InputError, match="no readable network"):
        load_network(Path("net"))


def test_pickled_toys_are_not_opened():
    np.savez("toys.npz", allow_pickle=True, binned=np.array([Burglar()], dtype=object))
    with pytest.raises(InputError, match=r"toys\.npz"):
        _read_toys(Path("toys.npz"))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').mkdir('broken_in')",
        "(lambda: 1)()",
        "x.__class__.__mro__",
        "[y for y in (1, 2)]",
        "open('a')",
        "eval('1')",
        "x if x else x",
        "f'{x}'",
        "(x := 1)",
    ],
)
def test_expressions_are_arithmetic(expression):
    with pytest.raises(InputError):
        parse_expression(expression, "data.variables.x")


@pytest.mark.parametrize(
    "text",
    [
        "a: !!python/object/apply:os.mkdir [broken_in]",
        "a: !!python/name:os.system ''",
        "a: !!python/module:os ''",
    ],
)
def test_tags_of_yaml_make_nothing(tiny, text):
    Path("c.yaml").write_text(tiny + text)
    with pytest.raises(InputError, match=r"c\.yaml"):
        load(Path("c.yaml"))


def test_without_them_the_config_is_fine(tiny):
    Path("c.yaml").write_text(tiny)
    assert list(load(Path("c.yaml")).samples) == ["s", "b"]


@pytest.mark.parametrize("name", ["../s", "/etc/s", "s/t", "..", "s t", "$(mkdir broken_in)", "s;"])
def test_names_lead_nowhere_else(tiny, name):
    quoted = json.dumps(name)
    for old, new in (
        ("  s: {", f"  {quoted}: {{"),
        ("  mlp:", f"  {quoted}:"),
        ("analysis: tiny", f"analysis: {quoted}"),
    ):
        assert old in tiny
        Path("c.yaml").write_text(tiny.replace(old, new))
        with pytest.raises(InputError, match=r"c\.yaml"):
            load(Path("c.yaml"))
