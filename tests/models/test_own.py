"""Networks that a user's own file makes."""

import pytest
import torch

from hepml.config import OwnOnFeatures, OwnOnImages, OwnOnSets
from hepml.errors import InputError
from hepml.inputs.features import Standardisation
from hepml.models import build
from hepml.models.own import import_factory

SOURCE = """
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Sizes:
    features: int

CALLS = []

def linear(features):
    return nn.Sequential(nn.Linear(Sizes(features).features, 1), nn.Flatten(0))

def remember(**arguments):
    CALLS.append(arguments)
    return nn.Linear(1, 1)

def needs(features, depth, width=3):
    return nn.Linear(features, depth)

def fails(features):
    raise RuntimeError("no luck")

def text(features):
    return "network"

class Network(nn.Linear):
    def __init__(self, features):
        super().__init__(features, 1)

number = 3
"""
ON_X = {"inputs": "features", "features": ("x", "y")}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(SOURCE)


def made(settings):
    return build(settings, factory=import_factory(settings.factory))


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        (OwnOnFeatures(factory="mine:remember", **ON_X), {"features": 2}),
        (
            OwnOnImages(
                factory="mine:remember",
                inputs="images",
                images={"pixels": 20, "channels": ("pt", "multiplicity", "charged_pt")},
                options={"width": 4},
            ),
            {"channels": 3, "pixels": 20, "width": 4},
        ),
        (OwnOnSets(factory="mine:remember", inputs="sets"), {"features": 7}),
        (OwnOnSets(factory="mine:remember", inputs="sets", features="full"), {"features": 17}),
    ],
)
def test_the_function_is_called_with_sizes_and_options(settings, arguments):
    factory = import_factory(settings.factory)
    build(settings, factory=factory)
    assert factory.function.__globals__["CALLS"] == [arguments]


def test_a_class_is_a_function_too():
    assert type(made(OwnOnFeatures(factory="mine:Network", **ON_X)).network).__name__ == "Network"


def test_variables_come_standardised():
    settings = OwnOnFeatures(factory="mine:linear", **ON_X)
    scale = Standardisation(mean=(10.0, -4.0), deviation=(2.0, 0.5))
    network = build(settings, scale, import_factory(settings.factory))
    with torch.no_grad():
        network.network[0].weight.copy_(torch.tensor([[1.0, 3.0]]))
        network.network[0].bias.fill_(7.0)
        # (13 - 10)/2 = 1.5 and (-4 + 4)/0.5 = 0; then 3·(-3.5 + 4)/0.5 = 3 more
        logits = network(torch.tensor([[13.0, -4.0], [13.0, -3.5]]))
    assert logits.tolist() == [8.5, 11.5]
    assert network.state_dict()["mean"].tolist() == [10, -4]


def test_settings_alone_run_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("from pathlib import Path; Path('RAN').touch()\ndef f(): ...")
    settings = OwnOnFeatures(factory="mine:f", **ON_X)
    with pytest.raises(InputError, match=r"made by mine:f.*if you trust it, give --factory mine:f"):
        build(settings)
    assert not (tmp_path / "RAN").exists()
    import_factory("mine:f")
    assert (tmp_path / "RAN").exists()


def test_nothing_is_left_beside_the_file(tmp_path):
    made(OwnOnFeatures(factory="mine:linear", **ON_X))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


def test_a_file_that_changed_is_run_anew(tmp_path):
    before = import_factory("mine:linear")
    (tmp_path / "mine.py").write_text("def linear(): return 5")
    after = import_factory("mine:linear")
    assert after.function() == 5
    assert before.sha256 != after.sha256


def test_installed_modules_have_factories():
    assert import_factory("torch.nn:Linear").function is torch.nn.Linear


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        ("fails", {}, r"mine.py:fails: RuntimeError: no luck \(mine.py, line 23\)"),
        ("text", {}, "mine.py:text: expected a torch.nn.Module, got a str"),
        ("number", {}, "mine.py:number: expected a function, but that is 3"),
        (
            "needs",
            {},
            r"mine.py:needs: missing a required argument: 'depth'; it is called with features and "
            r"defined as needs\(features, depth, width=3\); what it needs beyond .* options",
        ),
        ("needs", {"depth": 1, "widht": 2}, "got an unexpected keyword argument 'widht'"),
    ],
)
def test_functions_that_make_no_network(function, options, message):
    settings = OwnOnFeatures(factory=f"mine.py:{function}", options=options, **ON_X)
    with pytest.raises(InputError, match=message):
        made(settings)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import torch\n1 / 0\n", r"cannot be imported: ZeroDivisionError.*\(mine.py, line 2\)"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
        (
            "import beside\n",
            "cannot be imported: ModuleNotFoundError: No module named 'beside'.*line 1.*"
            "only installed modules can be imported",
        ),
    ],
)
def test_files_that_cannot_be_run(tmp_path, source, message):
    (tmp_path / "beside.py").write_text("")
    (tmp_path / "mine.py").write_text(source + "def build(): ...\n")
    with pytest.raises(InputError, match=message):
        import_factory("mine:build")
