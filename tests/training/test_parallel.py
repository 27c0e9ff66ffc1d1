"""Processes that train together do what one does alone, and end together."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hepml.config import Cnn, Images, Mlp, ParticleTransformer, Training, TrainingJob
from hepml.errors import InputError
from hepml.training.device import choose_device
from hepml.training.parallel import _threads

FOLDS = 3
KILL, TERM, USR1 = int(signal.SIGKILL), int(signal.SIGTERM), int(signal.SIGUSR1)
PROBLEM = "hepml: this process alone has a problem\n"


@pytest.fixture(scope="module")
def worker():
    with subprocess.Popen(
        [sys.executable, Path(__file__).with_name("parallel_worker.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def attempt(worker, tmp_path):
    """Exit codes of all processes of each attempt, and what they told."""

    def attempt(*attempts):
        log = tmp_path / "log"
        log.unlink(missing_ok=True)
        given = [{"processes": 2, "log": str(log)} | each for each in attempts]
        worker.stdin.write(json.dumps(given) + "\n")
        worker.stdin.flush()
        return json.loads(worker.stdout.readline()), log.read_text()

    return attempt


@pytest.fixture
def samples(write_sample):
    return [write_sample("signal", 1.0, 1, seed=1), write_sample("background", 0.0, 0, seed=2)]


def mlp(**changed):
    """Batches of 64 or 65 events: parts of processes differ in size."""
    settings = {"epochs": 4, "patience": 3, "batch_size": 65, "learning_rate": 1e-2} | changed
    dropout = settings.pop("dropout", 0.0)
    training = Training(**settings)
    return Mlp(
        architecture="mlp", features=("x", "noise"), hidden=(8,), dropout=dropout, training=training
    )


def cnn():
    training = Training(epochs=2, patience=1, batch_size=128, learning_rate=3e-3)
    images = Images(pixels=8)
    return Cnn(architecture="cnn", images=images, width=4, stages=1, dropout=0.0, training=training)


def transformer():
    training = Training(epochs=2, patience=1, batch_size=64, learning_rate=3e-3, average=0.9)
    return ParticleTransformer(architecture="particle_transformer", maximum=8, training=training)


def arguments(model, data, output, minutes=0.0):
    job = TrainingJob(model=model, folds=FOLDS, seed=3)
    options = ["--fold", "0", "--device", "cpu", "--checkpoint-minutes", str(minutes)]
    settings = ["--settings", job.model_dump_json(), "--output", str(output)]
    return {"arguments": ["train", *map(str, data), *options, *settings]}


def precisely(model, data, output, processes):
    job = TrainingJob(model=model, folds=FOLDS, seed=3)
    given = [job.model_dump_json(), list(map(str, data)), str(output)]
    return {"precisely": given, "processes": processes}


def content(output):
    """Losses and calibration of a network, without what depends on the clock."""
    record = json.loads((output / "model.json").read_text())
    for epoch in record["history"]:
        epoch.pop("events_per_second")
    return {name: record[name] for name in ("history", "best_epoch", "calibration")}


def assert_same(one, other):
    weights = [(folder / "model.safetensors").read_bytes() for folder in (one, other)]
    assert weights[0] == weights[1]
    assert content(one) == content(other)


# gradients of these are zero whatever the events, so that steps follow their rounding: a softmax
# does not feel the bias of a key, nor a shift of all scores
FREE = ("qkv.bias", "pairs.norms.")


@pytest.mark.parametrize("model", [mlp, cnn, transformer])
def test_any_number_of_processes_trains_the_same(attempt, model, samples, write_jets, tmp_path):
    """Networks in double precision; losses are in single precision, which rounds to 6e-8."""
    data = samples
    if model is not mlp:
        data = [write_jets(label, events=400, mean=6) for label in (0, 1)]
    ends, _ = attempt(*(precisely(model(), data, tmp_path / f"{n}", n) for n in (1, 2, 3)))
    assert ends == [[0], [0, 0], [0, 0, 0]]
    losses, weights, _ = torch.load(tmp_path / "1.0")
    for processes in (2, 3):
        results = [torch.load(tmp_path / f"{processes}.{rank}") for rank in range(processes)]
        got, network, _ = results[0]
        torch.testing.assert_close(got, losses, rtol=1e-6, atol=0)
        for name, value in weights.items():
            if not any(free in name for free in FREE):
                scale = float(value.abs().max()) + 1e-3
                torch.testing.assert_close(network[name], value, rtol=0, atol=1e-5 * scale)
        for _, other, _ in results[1:]:
            assert all(torch.equal(network[name], other[name]) for name in network)


def test_each_process_drops_out_what_it_likes(attempt, samples, tmp_path):
    # parts of the same size, which draw as many numbers
    model = mlp(dropout=0.5, events=512, batch_size=64)
    ends, _ = attempt(*(precisely(model, samples, tmp_path / f"{n}", n) for n in (1, 2)))
    assert ends == [[0], [0, 0]]
    (alone, _, _), (together, _, first), (_, _, second) = (
        torch.load(tmp_path / name) for name in ("1.0", "2.0", "2.1")
    )
    assert not torch.equal(first, second)  # what each would draw next
    assert not torch.equal(alone, together)
    torch.testing.assert_close(alone[:, :2], together[:, :2], rtol=0.05, atol=0)


def test_hepml_train_ends_as_in_one_process_and_says_all_once(attempt, samples, tmp_path):
    _, told_alone = attempt(arguments(mlp(), samples, tmp_path / "alone") | {"processes": 1})
    ends, told = attempt(arguments(mlp(), samples, tmp_path / "together"))
    assert ends == [[0, 0]]
    assert [line[:9] for line in told.splitlines()] == [
        line[:9] for line in told_alone.splitlines()
    ]
    alone, together = (content(tmp_path / name) for name in ("alone", "together"))
    assert together["best_epoch"] == alone["best_epoch"]
    for name in ("slope", "offset"):
        got, expected = (record["calibration"][name] for record in (together, alone))
        assert got == pytest.approx(expected, abs=1e-4)
    for one, other in zip(together["history"], alone["history"], strict=True):
        assert one == pytest.approx(other, rel=1e-5)
    assert not (tmp_path / "together.resume").exists()
    assert json.loads((tmp_path / "together/model.json").read_text())["processes"] == 2


def test_killed_together_at_random_steps_they_end_as_if_undisturbed(attempt, samples, tmp_path):
    model = mlp(dropout=0.2, average=0.9)
    given = arguments(model, samples, tmp_path / "net")
    # both, or one, which the other notices; from the start of each attempt, of 10 steps an epoch
    kills = [(3, None), (9, 1), (14, 0), (2, None)]
    killed = [given | {"step": step, "rank": rank, "act": KILL} for step, rank in kills]
    ends, told = attempt(*killed, given)
    assert ends == [[-KILL, -KILL], [1, -KILL], [-KILL, 1], [-KILL, -KILL], [0, 0]]
    assert told.count("hepml: another process of this training is gone") == 2
    assert told.count("going on after") == 4
    assert "Traceback" not in told
    attempt(arguments(model, samples, tmp_path / "undisturbed", minutes=10))
    assert_same(tmp_path / "net", tmp_path / "undisturbed")


@pytest.mark.parametrize("rank", [0, 1, None])
def test_a_signal_to_any_process_is_one_to_all(attempt, samples, tmp_path, rank):
    model = mlp(dropout=0.2)
    given = arguments(model, samples, tmp_path / "net", minutes=10)
    stopped, kept = ({"step": 13, "rank": rank, "act": number} for number in (TERM, USR1))
    ends, told = attempt(given | stopped, given | kept)
    assert ends == [[75, 75], [0, 0]]
    assert told.count("hepml: stopped by SIGTERM; ") == 1
    assert told.count("going on after 1 epochs and 3 of 10 steps") == 1
    assert told.count("net.resume, as SIGUSR1 asked") == 1
    attempt(arguments(model, samples, tmp_path / "undisturbed", minutes=10))
    assert_same(tmp_path / "net", tmp_path / "undisturbed")


def test_networks_with_batch_norm_go_on_together(attempt, write_jets, tmp_path):
    jets = [write_jets(label, events=400, mean=6) for label in (0, 1)]
    given = arguments(transformer(), jets, tmp_path / "net", minutes=10)
    ends, _ = attempt(given | {"step": 3, "act": TERM}, given)
    assert ends == [[75, 75], [0, 0]]
    attempt(arguments(transformer(), jets, tmp_path / "undisturbed", minutes=10))
    assert_same(tmp_path / "net", tmp_path / "undisturbed")


@pytest.mark.parametrize("rank", [0, 1, None])
def test_a_problem_of_any_process_ends_all_with_one_message(attempt, samples, tmp_path, rank):
    given = arguments(mlp(), samples, tmp_path / "net", minutes=10)
    ends, told = attempt(given | {"rank": rank, "step": 3, "act": "fail"})
    assert all(ends[0])
    assert told == PROBLEM
    assert list(tmp_path.glob("net*")) == []


def test_a_problem_at_the_very_end_ends_all(attempt, samples, tmp_path):
    ends, told = attempt(arguments(mlp(), samples, tmp_path / "net") | {"act": "fail at the end"})
    assert all(ends[0])
    assert told.endswith(PROBLEM)
    assert told.count("hepml:") == 1
    assert not (tmp_path / "net").exists()


def test_a_wrong_setting_is_told_once(attempt, samples, tmp_path):
    ends, told = attempt(arguments(mlp(batch_size=1), samples, tmp_path / "net"))
    assert all(ends[0])
    assert told == (
        "hepml: 2 processes for batches of 1 events; start fewer, or raise training.batch_size\n"
    )


@pytest.mark.parametrize("rank", [0, 1])
def test_what_diverges_in_one_process_keeps_its_last_good_network(attempt, samples, tmp_path, rank):
    given = arguments(mlp(), samples, tmp_path / "net", minutes=10)
    ends, told = attempt(given | {"rank": rank, "step": 13, "act": "poison"})
    assert all(ends[0])
    assert told.count("hepml:") == 1
    assert "not finite at step 3 of epoch 2" in told
    assert content(tmp_path / "net.last_good")["best_epoch"] == 1
    assert not (tmp_path / "net").exists()


def test_each_process_has_the_gpu_of_its_number(monkeypatch):
    chosen = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("torch.cuda.set_device", chosen.append)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert choose_device("auto", print) == torch.device("cuda", 1)
    assert chosen == [1]
    assert choose_device("cpu", print) == torch.device("cpu")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(InputError, match="started 3 processes here, where PyTorch sees 2 GPUs"):
        choose_device("cuda", print)


@pytest.mark.parametrize(
    ("given", "threads"), [({}, 4), ({"OMP_NUM_THREADS": "3"}, 3), ({"OMP_NUM_THREADS": "8"}, 4)]
)
def test_processes_share_the_cores(monkeypatch, given, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    assert _threads(2, given) == threads


def test_another_number_of_processes_begins_anew(attempt, samples, tmp_path):
    given = arguments(mlp(), samples, tmp_path / "net", minutes=10)
    ends, told = attempt(given | {"step": 13, "act": TERM}, given | {"processes": 1})
    assert ends == [[75, 75], [0]]
    assert "checkpoints of other number of processes are removed; the training begins" in told


@pytest.mark.slow
def test_torchrun_is_stopped_and_goes_on(attempt, samples, tmp_path):
    """As a batch system does it, with nothing but the command that users type."""
    model = mlp(dropout=0.2, epochs=40, patience=39)
    given = arguments(model, samples, tmp_path / "net", minutes=10)
    command = [Path(sys.executable).with_name("torchrun"), "--standalone", "--nproc-per-node", "2"]
    command += ["--no-python", Path(sys.executable).with_name("hepml"), *given["arguments"]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            if line.startswith("epoch 2/"):
                process.terminate()
                break
        told = process.stderr.read()
    assert process.returncode == 1  # whatever the processes say, which is 75
    assert told.count("hepml: stopped by SIGTERM; ") == 1
    assert not (tmp_path / "net").exists()
    again = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("going on after ") == 1
    attempt(arguments(model, samples, tmp_path / "undisturbed", minutes=10))
    assert_same(tmp_path / "net", tmp_path / "undisturbed")
