"""What the how-tos show is what the package reads."""

import json
import re
from pathlib import Path

import pytest
import torch

from hepml.config import Data, DataJob, Sample, TrainingJob
from hepml.configfile import parse
from hepml.data.functions import ALIASES, CONSTANTS, FUNCTIONS
from hepml.data.recipe import read_recipe
from hepml.inputs.sets import FEATURES
from hepml.models import build
from hepml.models.own import import_factory
from hepml.plaintext import read_yaml

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "own-ntuples.md"
OWN_MODEL = (DOCS / "own-model.md").read_text(encoding="utf-8")
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


def test_the_network_that_is_shown_is_the_example(tmp_path, monkeypatch):
    """Same weights, same logits: the page shows examples/deepsets.py without its annotations."""
    shown = re.search(r"```python\n(.*?)```", OWN_MODEL, re.DOTALL).group(1)
    config = re.search(r"```yaml\n(.*?)```", OWN_MODEL, re.DOTALL).group(1)
    monkeypatch.chdir(tmp_path)
    Path("my_model.py").write_text(shown)
    Path("a.yaml").write_text(config)
    model = read_yaml(Path("a.yaml"))["models"]["deepsets"]
    job = parse(TrainingJob, json.dumps({"model": model, "folds": 3, "seed": 1}), "a.yaml")
    network = build(job.model, factory=import_factory(job.model.factory))
    example = import_factory(str(DOCS.parent / "examples/deepsets.py:build")).function(7, width=32)
    example.load_state_dict(network.state_dict())
    batch = torch.randn(9, 7), torch.randn(9, 4), torch.tensor([4, 0, 5])
    assert torch.equal(network(*batch), example(*batch))
    assert network(*batch).shape == (3,)


def test_the_columns_of_sets_are_named():
    paragraph = OWN_MODEL[OWN_MODEL.index("The columns of `features: kin`") :]
    assert re.findall(r"`(part_\w+)`", paragraph)[:7] == list(FEATURES["kin"])
