"""Networks on particles and on images, against the best there is: toy jets with an exact ratio."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from hepml.config import Training, TrainingJob
from hepml.configfile import analysis
from hepml.data.stage import make_columns
from hepml.data.store import open_columns
from hepml.inputs import open_source
from hepml.inputs.sets import SetRecipe
from hepml.inputs.source import read_labels
from hepml.jobs import data_job, simulation_job
from hepml.models.particle_transformer import Architecture, ParticleTransformer
from hepml.scores.predict import logits
from hepml.simulation.stage import simulate
from hepml.training.batches import Batches
from hepml.training.checkpoint import load
from hepml.training.loop import fit
from hepml.training.stage import train

pytestmark = pytest.mark.slow
CONFIG = Path(__file__).parents[2] / "config/oracle_jets.yaml"
FOLDS = 10  # 8 of them train: 40,000 jets
TRAINED, TESTED = 25_000, 15_000  # jets per class
SIZE = Architecture(embedding=(32, 32), heads=4, layers=1, class_layers=1, dropout=0.0, pairs=False)
TRAINING = Training(epochs=6, patience=5, batch_size=256, learning_rate=1e-2, average=0.98)


def settings(events, seed):
    """The shipped analysis with other numbers of jets."""
    content = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    for sample in content["samples"].values():
        sample["events"] = events
    content["simulation"]["events_per_file"] = events
    return analysis(content | {"seed": seed, "folds": FOLDS}, "oracle_jets.yaml")


def make_jets(folder, events, seed):
    """Columns of signal and background."""
    chosen = settings(events, seed)
    for name in chosen.samples:
        ntuple = folder / f"{name}.root"
        simulate(simulation_job(chosen, name, 0), ntuple)
        make_columns(data_job(chosen, name), [str(ntuple)], folder / name)
    return [folder / name for name in chosen.samples]


@pytest.fixture(scope="module", name="data")
def _data(tmp_path_factory):
    """Folders of the jets to train on."""
    return make_jets(tmp_path_factory.mktemp("training"), TRAINED, seed=1)


class Unseen:
    """Jets that no network sees in training."""

    def __init__(self, folder):
        self.samples = list(map(open_columns, make_jets(folder, TESTED, seed=2)))
        self.signal = read_labels(self.samples).label == 1

    def __getitem__(self, name):
        return np.concatenate([sample[name] for sample in self.samples]).astype(np.float64)

    def score(self, network, model):
        source = open_source(self.samples, model)
        return logits(network.eval(), source, np.arange(len(self.signal)))

    def shares(self, score):
        """Share of the other class that each jet is on the right side of; the mean is the AUC."""
        signal, background = score[self.signal], score[~self.signal]
        below = np.searchsorted(np.sort(background), signal) / len(background)
        above = 1 - np.searchsorted(np.sort(signal), background) / len(signal)
        return below, above

    def gap(self, better, worse):
        """Difference of the AUCs of two scores and its error (DeLong et al. 1988)."""
        pairs = zip(self.shares(better), self.shares(worse), strict=True)
        of_classes = [one - other for one, other in pairs]
        error = np.sqrt(sum(each.var() / len(each) for each in of_classes))
        return of_classes[0].mean(), error

    def excess(self, score, exact):
        """Cross-entropy above that of the exact ratio [nats] and its error."""
        sign = np.where(self.signal, -1, 1)
        excess = np.logaddexp(0, sign * score) - np.logaddexp(0, sign * exact)
        return excess.mean(), excess.std() / np.sqrt(len(excess))


@pytest.fixture(scope="module", name="test")
def _test(tmp_path_factory):
    return Unseen(tmp_path_factory.mktemp("test"))


def test_cnn_comes_close_to_the_exact_ratio_of_an_image(data, test, tmp_path):
    cnn = settings(TRAINED, seed=1).models["cnn"]
    job = TrainingJob(model=cnn, folds=FOLDS, seed=1)
    train(job, data, 0, tmp_path / "cnn", torch.device("cpu"), lambda _: None)
    score = test.score(load(tmp_path / "cnn").network, cnn)
    exact = test["exact_image_llr"]
    gap, error = test.gap(exact, score)
    assert -3 * error < gap < 9e-3
    assert test.excess(score, exact)[0] < 1.6e-2
    better, error = test.gap(score, test["eccentricity"])
    assert better > 5 * error


def test_transformer_comes_close_to_the_exact_ratio_of_a_set(data, test):
    """One block of width 32: a network that learns this in a minute."""
    model = settings(TRAINED, seed=1).models["transformer"]
    samples = list(map(open_columns, data))
    source, labels = open_source(samples, model), read_labels(samples)

    def batches(chosen):
        events = np.flatnonzero(chosen)
        label = torch.from_numpy(labels.label[events].astype(np.float32))
        return Batches(source, events, label, torch.ones(len(events)))

    torch.manual_seed(1)
    network = ParticleTransformer(len(SetRecipe().names), SIZE, together=4000)
    fit(network, batches(labels.fold > 1), batches(labels.fold == 1), TRAINING, lambda _: None)
    score, exact = test.score(network, model), test["exact_llr"]
    gap, error = test.gap(exact, score)
    assert -3 * error < gap < 5e-3
    assert test.excess(score, exact)[0] < 1e-2
    # more than any image of these pixels can tell, and more than the cut
    for worse in ("exact_image_llr", "eccentricity"):
        better, error = test.gap(score, test[worse])
        assert better > 5 * error
