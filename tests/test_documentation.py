"""What the how-to for own ntuples shows is what the package reads."""

import json
import re
from pathlib import Path

import pytest

from hepml.config import Data, DataJob, Sample
from hepml.configfile import parse
from hepml.data.functions import ALIASES, CONSTANTS, FUNCTIONS
from hepml.data.recipe import read_recipe
from hepml.plaintext import read_yaml

PAGE = Path(__file__).parents[1] / "docs" / "own-ntuples.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_is_valid(tmp_path, block):
    (tmp_path / "a.yaml").write_text(block)
    content = read_yaml(tmp_path / "a.yaml")
    assert content.keys() <= {"samples", "data"}
    data = content.get("data", {"schema": "jetclass", "variables": {"x": "jet_pt"}})
    parse(Data, json.dumps(data), "a.yaml")
    samples = content.get("samples", {"any": {"role": "data", "files": ["x.root"]}})
    for name, sample in samples.items():
        parse(Sample, json.dumps(sample), name)
        job = {"name": name, "sample": sample, "data": data, "luminosity": 1, "folds": 5}
        read_recipe(parse(DataJob, json.dumps(job), name))


def test_every_function_is_in_the_table():
    table = TEXT[TEXT.index("| write | means |") : TEXT.index("**Missing values.**")]
    words = set(re.findall(r"\w+", table))
    assert words >= FUNCTIONS.keys()
    assert words >= {name for name in CONSTANTS if name.islower()}
    assert not FUNCTIONS.keys() & ALIASES.keys()
