import json

import numpy as np
import pytest
import torch

from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.models.particle_transformer import Architecture, ParticleTransformer
from hepml.training.batches import Batches
from hepml.training.checkpoint import load
from hepml.training.device import choose_device
from hepml.training.stage import count_macs, drawn, train

CPU = torch.device("cpu")


def train_quietly(job, data, fold, output):
    train(job, data, fold, output, CPU, lambda _: None)


@pytest.fixture
def samples(write_sample):
    return [write_sample("signal", 1.0, 1, seed=1), write_sample("background", 0.0, 0, seed=2)]


def test_a_network_is_reproduced_and_read_back(job, samples, tmp_path):
    train_quietly(job, samples, 1, tmp_path / "a")
    train_quietly(job, samples, 1, tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (
        tmp_path / "b/model.safetensors"
    ).read_bytes()
    trained = load(tmp_path / "a")
    assert trained.fold == 1
    assert trained.job == job
    assert trained.log_prior_odds == pytest.approx(0, abs=1e-6)
    assert not trained.network.training


def test_what_happens_in_the_tested_fold_cannot_matter(job, samples, tmp_path):
    train_quietly(job, samples, 2, tmp_path / "before")
    tested = np.asarray(open_columns(samples[0])["fold"]) == 2
    for name in ("x", "weight"):
        column = np.load(samples[0] / f"{name}.npy", mmap_mode="r+")
        column[tested] = 77
        column.flush()
    train_quietly(job, samples, 2, tmp_path / "after")
    one, other = (load(tmp_path / name).network.state_dict() for name in ("before", "after"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_data_events_are_not_trained_on(job, samples, write_sample, tmp_path):
    train_quietly(job, samples, 0, tmp_path / "without")
    train_quietly(job, [*samples, write_sample("data", 9.0, -1, seed=5)], 0, tmp_path / "with")
    one, other = (load(tmp_path / name).network.state_dict() for name in ("without", "with"))
    assert all(torch.equal(one[key], other[key]) for key in one)


class FiveParticles:
    """A source of jets of five particles with three features."""

    def take(self, events):
        rows = 5 * len(events)
        return torch.ones(rows, 3), torch.ones(rows, 4), torch.full((len(events),), 5)


def test_multiplications_of_a_transformer_are_those_of_its_layers():
    size = Architecture(embedding=(4,), heads=2, layers=1, class_layers=1, pairs=False)
    jets = Batches(FiveParticles(), np.zeros(1, np.int64), torch.ones(1), torch.ones(1))
    n, places, width, hidden = 5, 8, 4, 16  # tables of attention have a multiple of 8 places
    network = 2 * width * hidden
    particles = n * (3 * width + 3 * width**2 + width**2 + network)
    attention = 2 * places**2 * width
    # the token's query, seen through the keys, the values and the projection, each of width²; every
    # head weighs tokens of full width
    token = 4 * width**2 + 2 * size.heads * (places + 1) * width + network
    expected = particles + attention + token + width
    assert count_macs(ParticleTransformer(3, size), jets) == expected


def test_model_json_tells_history_and_cost(job, samples, tmp_path):
    train_quietly(job, samples, 0, tmp_path / "model")
    content = json.loads((tmp_path / "model/model.json").read_text())
    assert content["parameters"] == 2 * 8 + 8 + 8 + 1
    assert content["device"] == "cpu"
    assert content["seconds"] > 0
    assert content["macs"] == 2 * 8 + 8  # of one event
    assert content["events_per_second"] > 0
    assert 50 < content["peak_memory_mb"] < 50_000
    assert content["precision"] == "fp32"
    assert len(content["history"]) == 4
    assert content["history"][0].keys() >= {"epoch", "training_loss", "validation_loss"}
    # one of three folds trains
    fold = np.concatenate([np.asarray(open_columns(s)["fold"]) for s in samples])
    assert content["training_events"] == np.count_nonzero(fold == 2)


def test_fewer_events_can_be_drawn_to_train_on(job, samples, tmp_path):
    few = job.model.training.model_copy(update={"events": 50})
    smaller = job.model_copy(update={"model": job.model.model_copy(update={"training": few})})
    train_quietly(smaller, samples, 0, tmp_path / "model")
    assert json.loads((tmp_path / "model/model.json").read_text())["training_events"] == 50


def test_events_of_a_smaller_number_are_among_those_of_a_larger_one():
    events = np.arange(100, 200)
    ten, thirty = drawn(events, 10, seed=1), drawn(events, 30, seed=1)
    assert len(np.unique(ten)) == 10
    assert set(ten) < set(thirty) < set(events)
    assert np.array_equal(drawn(events, 1000, seed=1), events)
    assert not np.array_equal(drawn(events, 10, seed=2), ten)


def test_training_that_explodes_leaves_nothing_that_looks_finished(job, samples, tmp_path):
    wild = job.model.training.model_copy(
        update={"learning_rate": 1e38, "gradient_clip": 1e38, "schedule": "constant"}
    )
    broken = job.model_copy(update={"model": job.model.model_copy(update={"training": wild})})
    with pytest.raises(InputError, match="not finite"):
        train_quietly(broken, samples, 0, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_without_weight_is_refused(job, samples, write_sample, tmp_path):
    negative = write_sample("negative", 0.0, 0, seed=3, weight=-np.ones(900))
    with pytest.raises(InputError, match=r"background in training folds.*positive sum"):
        train_quietly(job, [samples[0], negative], 0, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_class_that_is_absent_is_refused(job, samples, tmp_path):
    with pytest.raises(InputError, match="background in training folds of fold 0: 0 events"):
        train_quietly(job, samples[:1], 0, tmp_path / "model")


def test_a_feature_that_does_not_vary_is_named(job, samples, tmp_path):
    for sample in samples:
        np.save(sample / "noise.npy", np.full(900, 4.0, np.float32))
    with pytest.raises(InputError, match=r"features \['noise'\] do not vary"):
        train_quietly(job, samples, 0, tmp_path / "model")


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_asked_for_and_absent_is_an_error():
    with pytest.raises(InputError, match="--device cuda: PyTorch sees no GPU"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


@pytest.mark.parametrize("damage", ["truncate", "other", "missing"])
def test_a_damaged_network_is_named(job, samples, tmp_path, damage):
    folder = tmp_path / "model"
    train_quietly(job, samples, 0, folder)
    weights = folder / "model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:-20])
    elif damage == "other":
        content = json.loads((folder / "model.json").read_text())
        content["settings"]["model"]["hidden"] = [9]
        (folder / "model.json").write_text(json.dumps(content))
    else:
        weights.unlink()
    with pytest.raises(InputError, match=r"model: (no readable network|weights do not fit)"):
        load(folder)
