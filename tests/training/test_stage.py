import json

import numpy as np
import pytest
import torch

from hepml.data.store import open_columns
from hepml.errors import InputError
from hepml.inputs import open_source
from hepml.jobs import member_job
from hepml.models.ensemble import members_of
from hepml.models.particle_transformer import Architecture, ParticleTransformer
from hepml.scores.predict import logits
from hepml.training.batches import Batches
from hepml.training.calibration import WIDTH, Line, fit_line
from hepml.training.checkpoint import load
from hepml.training.costs import count_macs
from hepml.training.device import choose_device
from hepml.training.stage import assemble, train
from hepml.training.task import drawn

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
        choose_device("cuda", print)
    assert choose_device("auto", print) == CPU


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


def several(job, number, calibration="platt"):
    model = job.model.model_copy(update={"ensemble": number, "calibration": calibration})
    return job.model_copy(update={"model": model})


def test_the_calibration_is_that_of_the_validation_fold(job, samples, tmp_path):
    """Constants of model.json are those that its own events give; the tested fold plays no part."""
    train_quietly(job, samples, 1, tmp_path / "model")
    trained, content = (
        load(tmp_path / "model"),
        json.loads((tmp_path / "model/model.json").read_text()),
    )
    columns = [open_columns(sample) for sample in samples]
    values = {n: np.concatenate([c[n] for c in columns]) for n in ("fold", "label", "weight")}
    stopped = np.flatnonzero(values["fold"] == 2)
    x = logits(trained.network, open_source(columns, job.model), stopped)
    line = fit_line(x, values["label"][stopped] == 1, values["weight"][stopped], WIDTH)
    found = content["calibration"]
    assert (found["slope"], found["offset"]) == pytest.approx((line.slope, line.offset), abs=1e-4)
    assert trained.line == Line(found["slope"], found["offset"])
    assert found["events"] == len(stopped)
    assert abs(found["mean_ratio"] - 1) < 4 * found["mean_ratio_error"]
    assert 0 < found["slope_error"] < 0.2
    assert found["map"] == "platt"
    assert found["warning"] is None


def test_without_calibration_the_logit_stays(job, samples, tmp_path):
    train_quietly(several(job, 1, "none"), samples, 0, tmp_path / "model")
    assert load(tmp_path / "model").line == Line()


def test_an_ensemble_is_the_same_from_one_job_and_from_many(job, samples, tmp_path):
    both = several(job, 2)
    train_quietly(both, samples, 1, tmp_path / "one")
    folders = [tmp_path / f"member{i}" for i in range(2)]
    for number, folder in enumerate(folders):
        train_quietly(member_job(both, number), samples, 1, folder)
    assemble(both, samples, folders[::-1], tmp_path / "many", CPU, lambda _: None)
    read = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "many")]
    assert read[0] == read[1]
    one, many = (
        json.loads((tmp_path / name / "model.json").read_text()) for name in ("one", "many")
    )
    assert one["calibration"] == many["calibration"]
    # the first member is the network there is without an ensemble; the second is another one
    train_quietly(job, samples, 1, tmp_path / "alone")
    alone = load(tmp_path / "alone").network.state_dict()
    first, second = (member.state_dict() for member in members_of(load(tmp_path / "one").network))
    assert all(torch.equal(first[name], alone[name]) for name in alone)
    assert not torch.equal(second["layers.0.weight"], first["layers.0.weight"])


def test_costs_of_an_ensemble_add_up(job, samples, tmp_path):
    said = []
    train(several(job, 2), samples, 0, tmp_path / "model", CPU, said.append)
    content = json.loads((tmp_path / "model/model.json").read_text())
    single = load(tmp_path / "model").network.members[0]
    assert content["parameters"] == 2 * sum(p.numel() for p in single.parameters())
    assert content["macs"] == pytest.approx(2 * (2 * 8 + 8), rel=1e-9)
    assert content["seconds"] == pytest.approx(sum(m["seconds"] for m in content["members"]))
    assert content["history"] == content["members"][0]["history"]
    assert content["history"] != content["members"][1]["history"]
    assert said[0].startswith("network 1 of 2, epoch 1/4")
    assert said[-2].startswith("network 2 of 2, epoch")
    assert said[-1].startswith("calibration: slope")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([(0, 0)], r"networks \[0\] of folds \[0\] given, expected those of one fold, 0 to 1"),
        ([(0, 0), (0, 0)], r"networks \[0, 0\]"),
        ([(0, 0), (1, 1)], r"of folds \[0, 1\]"),
    ],
)
def test_networks_of_another_ensemble_are_refused(job, samples, tmp_path, given, message):
    folders = []
    for member, fold in given:
        folders.append(tmp_path / f"{fold}_{member}")
        if not folders[-1].exists():
            train_quietly(member_job(several(job, 2), member), samples, fold, folders[-1])
    with pytest.raises(InputError, match=message):
        assemble(several(job, 2), samples, folders, tmp_path / "all", CPU, lambda _: None)
    other = job.model_copy(update={"seed": 99})
    with pytest.raises(InputError, match="trained with other settings"):
        assemble(several(other, 2), samples, folders, tmp_path / "all", CPU, lambda _: None)
    assert not (tmp_path / "all").exists()


def test_a_class_that_is_absent_where_it_calibrates_is_refused(job, samples, tmp_path):
    columns = open_columns(samples[1])
    np.save(samples[1] / "fold.npy", np.where(columns["fold"] == 1, 0, columns["fold"]))
    with pytest.raises(InputError, match="background in fold 1: 0 events"):
        train_quietly(job, samples, 0, tmp_path / "model")


def test_a_damaged_calibration_is_named(job, samples, tmp_path):
    train_quietly(job, samples, 0, tmp_path / "model")
    path = tmp_path / "model/model.json"
    content = json.loads(path.read_text())
    for given, message in (({}, "no slope and offset"), ({"slope": -1, "offset": 0}, "is -1")):
        path.write_text(json.dumps(content | {"calibration": given}))
        with pytest.raises(InputError, match=f"model.json: .*{message}"):
            load(tmp_path / "model")
