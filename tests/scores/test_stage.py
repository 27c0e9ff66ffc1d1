import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from hepml.config import Mlp, TrainingJob
from hepml.data.store import ColumnWriter
from hepml.errors import InputError
from hepml.inputs.features import Standardisation
from hepml.inputs.resident import ResidentTable
from hepml.models import build
from hepml.models.ensemble import Ensemble
from hepml.scores.predict import combine, logits
from hepml.scores.stage import score
from hepml.training.calibration import Line
from hepml.training.checkpoint import Trained, save

FOLDS = 4
MODEL = Mlp(architecture="mlp", features=("x",), hidden=(3,))
JOB = TrainingJob(model=MODEL, folds=FOLDS, seed=1)

CPU = torch.device("cpu")


def constant_network(value):
    network = build(MODEL, Standardisation((0.0,), (1.0,)))
    with torch.no_grad():
        network.layers[-1].weight.zero_()
        network.layers[-1].bias.fill_(value)
    return network


@pytest.fixture
def networks(tmp_path):
    """The network of fold k says 100 + k, whatever the event, and was trained at odds e^k."""
    folders = [tmp_path / f"fold{k}" for k in range(FOLDS)]
    for k, folder in enumerate(folders):
        save(folder, Trained(constant_network(100 + k), JOB, k, float(k)), {})
    return folders


@pytest.fixture
def sample(tmp_path):
    folder = tmp_path / "sample"
    folder.mkdir()
    fold = np.array([2, 0, 3, 1, 1, 0])
    with ColumnWriter(folder, ("x", "mass")) as writer:
        writer.append(
            {
                "event_id": np.arange(6) + 7,
                "fold": fold,
                "label": np.array([1, 1, 0, 0, 1, -1]),
                "weight": np.linspace(-1, 1, 6),
                "x": np.zeros(6),
                "mass": np.arange(6) * 10.0,
            }
        )
        writer.finish({})
    return folder


def test_an_event_is_scored_by_the_network_of_its_own_fold(networks, sample, tmp_path):
    # in any order of the networks
    score(networks[::-1], sample, ["mass"], tmp_path / "scores.parquet", CPU)
    table = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    assert table["fold"] == [2, 0, 3, 1, 1, 0]
    assert table["logit"] == [102, 100, 103, 101, 101, 100]
    # less the prior odds it was trained with
    assert table["llr"] == [100.0] * 6
    assert table["event_id"] == [7, 8, 9, 10, 11, 12]
    assert table["label"] == [1, 1, 0, 0, 1, -1]
    assert table["weight"] == pytest.approx(np.linspace(-1, 1, 6))
    assert table["mass"] == [0, 10, 20, 30, 40, 50]
    assert table["llr_err"] == [None] * 6


def test_over_training_is_shown_by_a_network_that_trained_on_the_event(networks, sample, tmp_path):
    """Network k is tested on fold k and stopped by fold k + 1: it must be neither."""
    for k, folder in enumerate(networks):
        save(folder, Trained(constant_network(100 + k), JOB, k, 0.0), {})
    score(networks, sample, [], tmp_path / "scores.parquet", CPU)
    table = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    teacher = np.array(table["llr_train"]) - 100
    fold = np.array(table["fold"])
    assert (teacher != fold).all()
    assert ((teacher + 1) % FOLDS != fold).all()


@pytest.mark.parametrize("given", [[0, 1, 2], [0, 1, 2, 2]])
def test_networks_must_be_one_per_fold(networks, sample, tmp_path, given):
    chosen = [networks[k] for k in given]
    with pytest.raises(InputError, match="expected one for each of 0 to 3"):
        score(chosen, sample, [], tmp_path / "scores.parquet", CPU)
    assert not (tmp_path / "scores.parquet").exists()


def test_a_score_that_is_not_finite_is_refused(networks, sample, tmp_path):
    save(networks[3], Trained(constant_network(float("nan")), JOB, 3, 0.0), {})
    with pytest.raises(InputError, match="sample: score of event 2 is not finite"):
        score(networks, sample, [], tmp_path / "scores.parquet", CPU)


def test_chunks_change_nothing(monkeypatch):
    network = build(MODEL, Standardisation((0.0,), (1.0,))).eval()
    source, events = ResidentTable(torch.linspace(-3, 3, 23)[:, None]), np.arange(23)
    whole = logits(network, source, events)
    monkeypatch.setattr("hepml.scores.predict.CHUNK", 5)
    np.testing.assert_allclose(logits(network, source, events), whole, rtol=1e-6)
    backwards = logits(network, source, np.flip(events).copy())
    np.testing.assert_allclose(backwards, whole[::-1], rtol=1e-6)
    assert len(logits(network, source, events[:0])) == 0


def test_llr_is_calibrated_and_the_logit_is_not(networks, sample, tmp_path):
    for k, folder in enumerate(networks):
        line = Line(slope=0.5, offset=-float(k))
        save(folder, Trained(constant_network(100 + k), JOB, k, float(k), line), {})
    score(networks, sample, [], tmp_path / "scores.parquet", CPU)
    table = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    fold = np.array(table["fold"])
    assert table["logit"] == (100 + fold).tolist()
    assert table["llr"] == (0.5 * 100 - fold).tolist()
    teacher = (fold + 1) % FOLDS  # was trained on the event, and has its own line
    assert table["llr_train"] == (0.5 * 100 - teacher).tolist()


def test_an_ensemble_has_the_mean_ratio_and_the_error_of_its_spread(sample, tmp_path):
    """Members say ln 1, ln 2 and ln 6, so that the mean ratio is 3."""
    model = MODEL.model_copy(update={"ensemble": 3})
    job = JOB.model_copy(update={"model": model})
    folders = [tmp_path / f"fold{k}" for k in range(FOLDS)]
    said = np.log([1.0, 2.0, 6.0])
    for k, folder in enumerate(folders):
        network = Ensemble([constant_network(float(value)) for value in said])
        save(folder, Trained(network, job, k, 0.0, Line(2.0, 0.25)), {})
    score(folders, sample, [], tmp_path / "scores.parquet", CPU)
    table = pq.read_table(tmp_path / "scores.parquet").to_pydict()
    assert table["logit"] == pytest.approx([np.log(3)] * 6, rel=1e-6)
    assert table["llr"] == pytest.approx([2 * np.log(3) + 0.25] * 6, rel=1e-6)
    assert table["llr_train"] == pytest.approx(table["llr"])
    error = 2 * np.sqrt(np.square(said - said.mean()).sum() / 2 / 3)
    assert table["llr_err"] == pytest.approx([error] * 6, rel=1e-6)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_a_member_that_fails_does_not_vanish_in_the_mean(broken):
    found = combine(np.array([[0.0, 1.0], [0.0, broken]]))
    assert found.mean[0] == pytest.approx(0)
    assert np.isnan(found.mean[1])
