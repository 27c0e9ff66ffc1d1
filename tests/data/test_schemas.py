import pytest

from hepml.config import Schema
from hepml.data.schemas import SHIPPED, resolve
from hepml.errors import InputError


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_schemas_are_complete(name):
    schema = resolve(name)
    assert schema.tree
    assert schema.identity


def test_own_keys_win_over_the_base():
    schema = resolve(Schema(base="nanoaod", tree="Friends"))
    assert schema.tree == "Friends"
    assert schema.weight == "genWeight"


def test_an_own_null_removes_what_the_base_has():
    assert resolve(Schema(base="nanoaod", runs=None)).runs is None


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ("jetclas", r"no schema 'jetclas' ships \(nearest: jetclass"),
        (Schema(identity=(("a",),)), "data.schema.tree: name the tree"),
        (Schema(tree="t"), "data.schema.identity: name the branches"),
    ],
)
def test_incomplete_schemas_say_what_is_missing(schema, message):
    with pytest.raises(InputError, match=message):
        resolve(schema)
