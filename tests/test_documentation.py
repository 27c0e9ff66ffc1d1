"""What the how-tos show is what the package reads."""

import json
import re
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch
import uproot

from hepml.config import Data, DataJob, Sample, Systematic, TrainingJob
from hepml.configfile import parse
from hepml.data.functions import ALIASES, CONSTANTS, FUNCTIONS
from hepml.data.recipe import read_recipe
from hepml.data.stage import make_columns
from hepml.data.store import open_columns
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


def test_the_example_of_varied_branches_runs(tmp_path):
    """A jet at 495 GeV, which a scale of 2 % moves into the selection above 500 GeV."""
    text = (DOCS / "systematics.md").read_text(encoding="utf-8")
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
        (tmp_path / f"{number}.yaml").write_text(block)
    first, second = (read_yaml(tmp_path / f"{number}.yaml") for number in (0, 1))
    for name, systematic in first["systematics"].items():
        parse(Systematic, json.dumps(systematic), name)
    pt = ak.Array([[495e3, 100e3], [700e3], [300e3]])
    jets = ak.zip({"pt": pt, "pt_JESUp": pt * 1.02, "pt_JESDown": pt * 0.98})
    tree = {"Jet": jets, "run": np.array([1, 1, 1]), "event": np.array([5, 6, 7])}
    with uproot.recreate(tmp_path / "a.root") as file:
        file.mktree(
            "events", {n: a.type.content if n == "Jet" else a.dtype for n, a in tree.items()}
        )
        file["events"].extend(tree)
    sample = {"role": "background", "files": ["a.root"], "cross_section": 1}
    job = {"name": "b", "sample": sample, "data": second["data"], "luminosity": 1, "folds": 5}
    found = {}
    for direction in ("", "up", "down"):
        objects = second["systematics"]["jes"]["objects"].get(direction)
        variation = {"systematic": "jes", "direction": direction, "objects": objects}
        changes = {"variation": variation if objects else None}
        settings = parse(DataJob, json.dumps(job | changes), "job")
        make_columns(settings, [str(tmp_path / "a.root")], tmp_path / direction / "columns")
        found[direction] = open_columns(tmp_path / direction / "columns")["jet_pt"].tolist()
    assert found[""] == [700]
    assert found["up"] == pytest.approx([504.9, 714])
    assert found["down"] == pytest.approx([686])


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
