"""Networks of a user's own file are trained, stored and read back; a stranger's file is not run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import rankdata

from hepml.config import OwnOnFeatures, OwnOnImages, OwnOnSets, Training, TrainingJob
from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.inputs import open_source
from hepml.models.own import import_factory
from hepml.scores.stage import score
from hepml.training.checkpoint import load
from hepml.training.stage import train

EXAMPLES = Path(__file__).parents[2] / "examples"
CPU = torch.device("cpu")
SHORT = Training(epochs=2, patience=1, batch_size=256, learning_rate=3e-3)
LINEAR = """
from torch import nn

def build(features, width=1):
    return nn.Sequential(nn.Linear(features, width), nn.Linear(width, 1), nn.Flatten(0))
"""
LATE = """
import torch
from torch import nn

class Late(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.net = nn.Linear(features, 1)
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, x):
        self.steps += self.training
        logit = self.net(x)[:, 0]
        return torch.sigmoid(logit) if self.steps > 1 and not self.training else logit
"""
MEAN = """
import torch
from torch import nn

class Mean(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.net = nn.Linear(features, 1)

    def forward(self, features, momenta, counts):
        total = torch.zeros(len(counts)).index_add(
            0, torch.repeat_interleave(counts), self.net(features)[:, 0]
        )
        return total / counts
"""
PIXELS = """
from torch import nn

def build(channels, pixels):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * pixels**2, 1), nn.Flatten(0))
"""
EXPLODING = """
import torch
from torch import nn

class Exploding(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.net = nn.Linear(features, 1)
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        return self.net(x)[:, 0] * (torch.inf if self.steps > 5 else 1)
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(EXAMPLES, tmp_path / "examples")
    (tmp_path / "linear.py").write_text(LINEAR)
    (tmp_path / "on_pixels.py").write_text(PIXELS)


def job_of(model):
    return TrainingJob(model=model, folds=3, seed=5)


def on_x(**changes):
    settings = {"factory": "linear:build", "features": ("x", "noise"), "training": SHORT}
    return job_of(OwnOnFeatures(inputs="features", **settings | changes))


@pytest.fixture
def samples(write_sample):
    return [write_sample("signal", 1.0, 1, seed=1), write_sample("background", 0.0, 0, seed=2)]


@pytest.fixture
def trained(samples, tmp_path):
    train(on_x(), samples, 0, tmp_path / "net", CPU, lambda _: None)
    return tmp_path / "net"


def auc(score, label):
    ranks, signal = rankdata(score), np.count_nonzero(label)
    pairs = signal * (len(label) - signal)
    return (ranks[label == 1].sum() - signal * (signal + 1) / 2) / pairs


def test_deep_sets_learn_the_likelihood_ratio(write_jets, tmp_path):
    """Scores of all folds, by networks that did not see the jets, against the exact ratio."""
    factory = "examples/deepsets.py:build"
    training = Training(epochs=6, patience=5, batch_size=128, learning_rate=5e-3)
    settings = OwnOnSets(
        factory=factory, inputs="sets", options={"width": 24}, maximum=60, training=training
    )
    data = [write_jets(label, events=2000) for label in (0, 1)]
    folders = [tmp_path / f"fold{fold}" for fold in range(3)]
    for fold, folder in enumerate(folders):
        train(job_of(settings), data, fold, folder, CPU, lambda _: None)
    tables = []
    for label, folder in enumerate(data):
        score(
            folders,
            folder,
            ["exact_llr"],
            tmp_path / f"{label}.parquet",
            CPU,
            import_factory(factory),
        )
        tables.append(pq.read_table(tmp_path / f"{label}.parquet"))
    llr, exact, label = (
        np.concatenate([table[name].to_numpy() for table in tables])
        for name in ("llr", "exact_llr", "label")
    )
    # 670 jets of each class train each network; without learning the gap is 0.43
    assert -0.002 < auc(exact, label) - auc(llr, label) < 0.02


def test_edge_convolutions_learn(write_jets, tmp_path):
    training = Training(epochs=8, patience=7, batch_size=32, learning_rate=1e-2)
    settings = OwnOnSets(
        factory="examples/edgeconv.py:build",
        inputs="sets",
        options={"width": 16, "neighbours": 4},
        training=training,
    )
    data = [write_jets(label, events=900) for label in (0, 1)]
    train(job_of(settings), data, 0, tmp_path / "net", CPU, lambda _: None)
    history = json.loads((tmp_path / "net/model.json").read_text())["history"]
    # ln 2 = 0.69 without learning; the exact ratio has 0.335 (20k jets of each class)
    assert history[-1]["validation_loss"] < 0.5


def test_training_that_explodes_leaves_the_last_good_network_beside(samples, tmp_path):
    """Three steps per epoch; the sixth call in training, a trial included, is lost."""
    (tmp_path / "exploding.py").write_text(EXPLODING)
    training = Training(epochs=4, patience=3, batch_size=256, learning_rate=3e-3)
    message = r"not finite at step . of epoch 2 .* network of epoch 1 is kept in .*net.last_good"
    with pytest.raises(InputError, match=message):
        train(
            on_x(factory="exploding:Exploding", training=training),
            samples,
            0,
            tmp_path / "net",
            CPU,
            lambda _: None,
        )
    assert not (tmp_path / "net").exists()
    kept = load(tmp_path / "net.last_good", import_factory("exploding:Exploding"))
    assert all(torch.isfinite(weight).all() for weight in kept.network.parameters())


@pytest.mark.parametrize("example", ["deepsets", "edgeconv"])
def test_the_examples_know_no_order_and_no_neighbours(write_jets, example):
    """Particles of a jet in any order, jets in any company: also one without particles."""
    settings = OwnOnSets(factory=f"examples/{example}.py:build", inputs="sets")
    columns = open_columns(write_jets(1, events=40, mean=2))
    features, momenta, counts = open_source([columns], settings).take(np.arange(40))
    assert {0, 1} <= set(counts.tolist())
    torch.manual_seed(1)
    network = import_factory(settings.factory).function(features=7).eval()
    jet = torch.repeat_interleave(counts)
    order = torch.argsort(jet + torch.rand(len(jet)), stable=True)
    with torch.no_grad():
        together = network(features, momenta, counts)
        shuffled = network(features[order], momenta[order], counts)
        alone = [
            network(features[jet == k], momenta[jet == k], counts[k : k + 1]) for k in range(40)
        ]
    torch.testing.assert_close(shuffled, together, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-6)


def test_a_network_on_images(write_jets, tmp_path):
    images = {"pixels": 8, "channels": ("pt", "multiplicity")}
    settings = OwnOnImages(
        factory="on_pixels.py:build", inputs="images", images=images, training=SHORT
    )
    jets = [write_jets(label, events=300) for label in (0, 1)]
    train(job_of(settings), jets, 0, tmp_path / "net", CPU, lambda _: None)
    content = json.loads((tmp_path / "net/model.json").read_text())
    assert content["parameters"] == 2 * 8 * 8 + 1
    assert content["architecture"] == "own"


def test_what_is_not_seen_of_jets_is_counted_told_and_warned_of(write_jets, tmp_path):
    settings = OwnOnSets(
        factory="examples/deepsets.py:build", inputs="sets", maximum=3, training=SHORT
    )
    jets = [write_jets(label, events=300, mean=3) for label in (0, 1)]
    lines = []
    train(job_of(settings), jets, 0, tmp_path / "net", CPU, lines.append)
    content = json.loads((tmp_path / "net/model.json").read_text())
    columns = [open_columns(folder) for folder in jets]
    counts = np.concatenate([np.diff(c.particles().offsets)[c["fold"] == 2] for c in columns])
    lost = content["unseen"]
    assert lost["jets"] == content["training_events"] == len(counts)
    for name, expected in (("empty", counts == 0), ("single", counts == 1), ("cut", counts > 3)):
        assert lost[name] == np.count_nonzero(expected) > 0
    # all particles are equally hard
    share = np.maximum(counts - 3, 0).sum() / counts.sum()
    assert lost["particles_cut"] == pytest.approx(share)
    assert lost["pt_unseen"] == pytest.approx(share, rel=1e-5)
    assert [warning.split(":")[0] for warning in content["warnings"]] == [
        f"{lost['empty']} of {len(counts)} jets have no particle",
        f"{lost['cut']} of {len(counts)} jets have more particles than are kept, the hardest "
        "(maximum 3)",
    ]
    assert lines[0].startswith(f"{len(counts)} jets, of which {lost['empty']} have no particle")


@pytest.mark.parametrize("model", [on_x().model, None], ids=["own", "mlp"])
def test_a_feature_that_does_not_vary_is_named(samples, job, tmp_path, model):
    for sample in samples:
        np.save(sample / "noise.npy", np.full(900, 4.0, np.float32))
    with pytest.raises(InputError, match=r"features \['noise'\] do not vary in the training folds"):
        train(job_of(model) if model else job, samples, 0, tmp_path / "net", CPU, lambda _: None)


def test_variables_are_standardised_with_what_it_was_trained_on(trained):
    network = load(trained, import_factory("linear:build")).network
    # noise is drawn with mean 5 and deviation 3, x with mean 0 and 1: 600 events of a third each
    assert network.mean.tolist() == pytest.approx([0.5, 5], abs=0.4)
    assert network.deviation.tolist() == pytest.approx([1.1, 3], abs=0.3)


def test_the_file_is_recorded(trained):
    content = json.loads((trained / "model.json").read_text())
    assert content["settings"]["factory_sha256"] == import_factory("linear:build").sha256
    assert content["settings"]["model"]["factory"] == "linear:build"


def test_reading_a_network_runs_no_file_that_only_the_network_names(trained, tmp_path):
    (tmp_path / "linear.py").write_text("from pathlib import Path; Path('RAN').touch()\n" + LINEAR)
    with pytest.raises(InputError, match=r"net: .*made by linear:build.*if you trust it, give --f"):
        load(trained)
    assert not (tmp_path / "RAN").exists()


def test_another_factory_is_refused(trained, tmp_path):
    (tmp_path / "other.py").write_text(LINEAR)
    with pytest.raises(InputError, match="made by linear:build, but --factory is other:build"):
        load(trained, import_factory("other:build"))


def test_a_factory_for_one_of_our_networks_is_refused(job, samples, tmp_path):
    train(job, samples, 0, tmp_path / "mlp", CPU, lambda _: None)
    with pytest.raises(InputError, match="made by mlp, but --factory is linear:build"):
        load(tmp_path / "mlp", import_factory("linear:build"))


def test_a_file_that_changed_since_training_is_refused(trained, tmp_path):
    (tmp_path / "linear.py").write_text(LINEAR.replace("width=1", "width=2"))
    with pytest.raises(InputError, match=r"linear.py has changed since this network was trained"):
        load(trained, import_factory("linear:build"))


def test_weights_that_do_not_fit_are_refused(trained):
    content = json.loads((trained / "model.json").read_text())
    content["settings"]["model"]["options"] = {"width": 7}
    (trained / "model.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="net: weights do not fit the architecture"):
        load(trained, import_factory("linear:build"))


def test_a_file_that_changed_while_the_workflow_ran_is_refused(samples, tmp_path):
    stale = on_x().model_copy(update={"factory_sha256": "0" * 64})
    with pytest.raises(InputError, match=r"linear:build: linear.py changed after the workflow had"):
        train(stale, samples, 0, tmp_path / "net", CPU, lambda _: None)


def test_tied_weights_are_stored(samples, tmp_path):
    (tmp_path / "tied.py").write_text(
        "from torch import nn\n"
        "def build(features):\n"
        "    inside = nn.Linear(features, features)\n"
        "    return nn.Sequential(inside, inside, nn.Linear(features, 1), nn.Flatten(0))\n"
    )
    train(on_x(factory="tied:build"), samples, 0, tmp_path / "net", CPU, lambda _: None)
    network = load(tmp_path / "net", import_factory("tied:build")).network.network
    assert network[0].weight is network[1].weight


def test_a_network_that_gives_probabilities_is_not_trained(samples, tmp_path):
    sigmoid = LINEAR.replace("nn.Flatten(0)", "nn.Sigmoid(), nn.Flatten(0)")
    (tmp_path / "wrong.py").write_text(sigmoid)
    lines = []
    with pytest.raises(InputError, match=r"wrong:build: whatever its parameters.*the sigmoid or"):
        train(on_x(factory="wrong:build"), samples, 0, tmp_path / "net", CPU, lines.append)
    assert not lines
    assert not (tmp_path / "net").exists()


def test_a_network_is_tried_again_after_its_training(samples, tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    lines = []
    with pytest.raises(InputError, match=r"late:Late: whatever its parameters.*the sigmoid or"):
        train(on_x(factory="late:Late"), samples, 0, tmp_path / "net", CPU, lines.append)
    assert len(lines) == SHORT.epochs
    assert not (tmp_path / "net").exists()


def test_a_jet_without_particles_that_breaks_a_network_is_told(write_jets, tmp_path):
    (tmp_path / "mean.py").write_text(MEAN)
    settings = OwnOnSets(factory="mean:Mean", inputs="sets", training=SHORT)
    jets = [write_jets(label, events=400, mean=3) for label in (0, 1)]
    message = r"mean:Mean: the network gives nan for \d+ of \d+ jets, the first of them with 0 part"
    with pytest.raises(InputError, match=message):
        train(job_of(settings), jets, 0, tmp_path / "net", CPU, lambda _: None)
