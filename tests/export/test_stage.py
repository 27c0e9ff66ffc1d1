"""Exported files alone, in onnxruntime, give the logits that hepml gives."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from hepml.cli import main
from hepml.config import OwnOnFeatures, OwnOnSets
from hepml.data.store import ColumnWriter
from hepml.errors import InputError
from hepml.export import convert, stage
from hepml.export.events import JetEvents, synthetic
from hepml.models.own import import_factory
from hepml.training.checkpoint import load

from .conftest import FOLD, LINE, MODELS, ODDS, SCALE, run_export, write_network

pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")

PAGE = Path(__file__).parents[2] / "docs/onnx.md"
EXAMPLES = PAGE.parents[1] / "examples"
SLOW_SET = pytest.param("set", marks=pytest.mark.slow)  # a minute to export
ON_JETS = ["cnn", SLOW_SET]
ALL = ["mlp", *ON_JETS]


def ratio(logit):
    """As docs/scores.md defines it."""
    return LINE.slope * (logit - ODDS) + LINE.offset


@pytest.fixture
def tried(exported):
    """Other events than the gate's, and what hepml's own code gives for them."""

    def make(name, size=50):
        trained = load(exported(name)[0])
        events = synthetic(MODELS[name], trained.network, size, np.random.default_rng(8))
        with torch.no_grad():
            return events, trained.network(*events.arguments()).numpy()

    return make


@pytest.mark.parametrize("name", ALL)
def test_the_file_gives_logit_and_ratio(exported, session_of, tried, name):
    session, _ = session_of(name)
    events, expected = tried(name)
    logit, llr = session.run(["logit", "llr"], events.feeds())
    assert expected.std() > 0.01
    np.testing.assert_allclose(logit, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(llr, ratio(expected), rtol=1e-5, atol=1e-5)
    assert "synthetic events: largest difference" in exported(name)[2][0]


def test_standardisation_is_inside(session_of, tried, layers):
    """Written out in NumPy: (x - mean)/deviation, a layer, SiLU, a layer."""
    session, _ = session_of("mlp")
    events, _ = tried("mlp")
    (logit, _) = session.run(None, events.feeds())
    x = (events.values - np.array(SCALE.mean)) / np.array(SCALE.deviation)
    hidden = x @ layers["layers.0.weight"].T + layers["layers.0.bias"]
    hidden = hidden / (1 + np.exp(-hidden))
    by_hand = hidden @ layers["layers.2.weight"][0] + layers["layers.2.bias"]
    np.testing.assert_allclose(logit, by_hand, rtol=1e-5, atol=1e-5)


@pytest.fixture
def layers(exported):
    state = load(exported("mlp")[0]).network.state_dict()
    return {name: value.double().numpy() for name, value in state.items()}


@pytest.mark.parametrize("name", ON_JETS)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_any_number_of_jets_and_places(session_of, tried, name, size):
    session, _ = session_of(name)
    events, expected = tried(name)
    feeds = events.feeds()
    some = {key: value[:size] for key, value in feeds.items()}  # the first has no particle
    wide = {key: np.concatenate([value, value], axis=1) for key, value in some.items()}
    wide["real"][:, some["real"].shape[1] :] = False
    none = {key: value[:, :0] for key, value in some.items()}
    for given in (some, wide):
        np.testing.assert_allclose(
            session.run(["logit"], given)[0], expected[:size], rtol=1e-5, atol=1e-5
        )
    np.testing.assert_allclose(
        session.run(["logit"], none)[0], np.full(size, expected[0]), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("name", ON_JETS)
def test_the_order_of_particles_is_free_and_a_broken_jet_spoils_no_other(session_of, tried, name):
    session, _ = session_of(name)
    events, expected = tried(name)
    feeds = events.feeds()
    order = np.random.default_rng(3).permutation(feeds["real"].shape[1])
    feeds = {key: np.ascontiguousarray(value[:, order]) for key, value in feeds.items()}
    feeds["particles"][7, np.flatnonzero(feeds["real"][7])[0], 1] = np.inf
    (logit,) = session.run(["logit"], feeds)
    assert np.flatnonzero(np.isnan(logit)).tolist() == [7]
    others = np.delete(np.arange(len(logit)), 7)
    np.testing.assert_allclose(logit[others], expected[others], rtol=1e-5, atol=2e-5)


def test_the_example_of_the_page_runs(exported, tmp_path, monkeypatch, capsys):
    folder, file, _ = exported("cnn")
    shown = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)
    assert len(shown.strip().splitlines()) <= 26
    monkeypatch.chdir(tmp_path)
    shutil.copy(file, "cnn.onnx")
    space = {}
    exec(shown, space)
    assert "cnn takes ['px', 'py', 'pz', 'charge']" in capsys.readouterr().out
    values = np.array([p for jet in space["jets"] for p in jet], np.float32)
    counts = np.array([len(jet) for jet in space["jets"]])
    jets = JetEvents(MODELS["cnn"], space["fields"], values, counts)
    with torch.no_grad():
        expected = load(folder).network(*jets.arguments()).numpy()
    # 13 pixels: the jet of one particle lies in the central one, not on an edge
    np.testing.assert_allclose(space["llr"], ratio(expected), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_only_the_hardest_particles_count(session_of):
    session, _ = session_of("set")
    trained_on = MODELS["set"].maximum
    trained = synthetic(MODELS["set"], torch.nn.Module(), 5, np.random.default_rng(1))
    feeds = trained.take(np.array([4])).feeds()  # 30 particles
    px, py = feeds["particles"][0, :, 0], feeds["particles"][0, :, 1]
    softest = np.argsort(np.where(feeds["real"][0], np.hypot(px, py), np.inf))[0]
    assert feeds["real"].sum() == trained_on + 10
    (before,) = session.run(["logit"], feeds)
    feeds["particles"][0, softest, 6:] = 5  # neither momentum nor energy, which the sums need
    (after,) = session.run(["logit"], feeds)
    assert after == before
    hardest = np.argmax(np.where(feeds["real"][0], np.hypot(px, py), -1))
    feeds["particles"][0, hardest, 6:] = 5
    assert abs(session.run(["logit"], feeds)[0] - before) > 1e-4


@pytest.mark.parametrize("name", ALL)
def test_the_file_says_what_goes_in_and_comes_out(session_of, name):
    session, said = session_of(name)
    given = {each.name: len(each.shape) for each in session.get_inputs()}
    assert given == {key: len(value["axes"]) for key, value in said["inputs"].items()}
    assert [each.name for each in session.get_outputs()] == list(said["outputs"])
    first = session.get_inputs()[0]
    assert first.shape[-1] == len(said["inputs"][first.name]["columns"])
    assert [axis for axis in first.shape if isinstance(axis, str)] == said_axes(name)
    assert said["architecture"] == MODELS[name].architecture
    assert said["fold"] == str(FOLD)
    assert said["parity"]["difference"] <= 1e-5
    assert said["settings"]["folds"] == 4
    if name == "mlp":
        assert said["inputs"]["features"]["columns"] == ["x", "y", "z"]
    else:
        assert said["inputs"]["particles"]["units"]["px"] == "GeV"


def said_axes(name):
    return ["jets"] if name == "mlp" else ["jets", "places"]


def test_the_file_holds_no_paths_of_the_machine_that_made_it(exported):
    _, file, _ = exported("mlp")
    assert str(Path(stage.__file__).parent).encode() not in file.read_bytes()


def test_real_events_are_compared_too(exported, tmp_path):
    folder, _, _ = exported("mlp")
    columns = tmp_path / "sample"
    columns.mkdir()
    with ColumnWriter(columns, ("x", "y", "z")) as writer:
        ids = np.arange(9, dtype=np.uint64)
        row = {"event_id": ids, "fold": ids, "label": ids % 2, "weight": np.ones(9)}
        writer.append(row | {name: np.linspace(-1, 1, 9) for name in ("x", "y", "z")})
        writer.finish({})
    said = []
    stage.export(folder, (columns,), tmp_path / "a.onnx", None, said.append)
    assert "on 9 events" in said[1]
    assert str(columns) in said[1]


def test_an_ensemble_is_one_file(tmp_path):
    model = MODELS["mlp"].model_copy(update={"ensemble": 2})
    folder, output = write_network(tmp_path / "fold2", model), tmp_path / "a.onnx"
    stage.export(folder, (), output, None, print)
    x = np.random.default_rng(2).normal(size=(20, 3)).astype(np.float32)
    logit, _ = convert.Session(output.read_bytes())({"features": x})
    with torch.no_grad():
        members = [m(torch.from_numpy(x)).numpy() for m in load(folder).network.members]
    assert np.abs(members[0] - members[1]).max() > 0.1
    mean_ratio = np.exp(members).mean(axis=0)
    np.testing.assert_allclose(logit, np.log(mean_ratio), rtol=1e-5, atol=1e-5)


def test_a_difference_leaves_no_file(exported, tmp_path, monkeypatch):
    folder, _, _ = exported("mlp")
    monkeypatch.setattr(
        stage.Session, "__call__", lambda self, feeds: [x + 1e-3 for x in _outputs(self, feeds)]
    )
    with pytest.raises(InputError, match=r"not exported.* 1\.0e-03 between"):
        stage.export(folder, (), tmp_path / "new" / "a.onnx", None, print)
    assert list(tmp_path.iterdir()) == []


def _outputs(session, feeds):
    return session._session.run(["logit", "llr"], feeds)


def test_missing_packages_are_named(exported, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(convert, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(SystemExit):
        main(["export", str(exported("mlp")[0]), "--output", str(tmp_path / "a.onnx")])
    message = capsys.readouterr().err
    assert "needs onnxruntime, which is not installed" in message
    assert ".[onnx]" in message


OWN = """
import torch
from torch import nn

class Own(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.layer = nn.Linear(features, 1)

    def forward(self, features):
        {}
        return self.layer(features).squeeze(-1)

def build(features):
    return Own(features)
"""


@pytest.mark.parametrize(
    ("line", "works"), [("", True), ("features = features * max(1, int(features.max()))", False)]
)
def test_own_networks_are_exported_where_torch_can(tmp_path, line, works):
    (tmp_path / "own.py").write_text(OWN.format(line))
    factory = import_factory(f"{tmp_path}/own.py:build")
    model = OwnOnFeatures(factory=factory.name, inputs="features", features=("x", "y"))
    folder, output = write_network(tmp_path / "fold2", model, factory), tmp_path / "a.onnx"
    if works:
        stage.export(folder, (), output, factory, print)
    else:
        with pytest.raises(InputError, match="torch cannot export this network"):
            stage.export(folder, (), output, factory, print)
    assert output.exists() == works


@pytest.mark.slow
@pytest.mark.parametrize(("example", "message"), [("deepsets", ""), ("edgeconv", "cdist")])
def test_own_networks_on_packed_particles(tmp_path, example, message):
    """In a process of its own: torch analyses code, and cannot see through checks of shapes."""
    factory = import_factory(f"{EXAMPLES}/{example}.py:build")
    model = OwnOnSets(factory=factory.name, inputs="sets", maximum=20, options={"width": 8})
    folder, output = write_network(tmp_path / "fold2", model, factory), tmp_path / "a.onnx"
    answer = run_export(folder, output, "--factory", factory.name)
    assert answer.returncode == bool(message), answer.stderr
    assert output.exists() != bool(message)
    assert message in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
