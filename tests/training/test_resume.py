"""Trainings that are killed, stopped or damaged end as if nothing had happened, bit for bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch

from hepml import artifacts, kernels
from hepml.config import Cnn, Images, Mlp, ParticleTransformer, Training, TrainingJob
from hepml.errors import InputError, InterruptedTrainingError
from hepml.training import lease, loop, resume
from hepml.training.lease import LostError
from hepml.training.resume import resumable
from hepml.training.stage import train, train_task
from hepml.training.task import prepare

FOLDS = 3
CPU = torch.device("cpu")
EVERY_STEP = 0.0
# One process that imports torch once and forks a training for each attempt. A signal comes in the
# middle of the step, while the checkpoint is written, or after the validation, of the given number
ATTEMPTS = """
import json, os, signal, sys
import torch
from hepml.cli import main
from hepml.provenance import code_digest
from hepml.training import loop, resume, stage, task

# what takes seconds, once
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
code_digest("hepml.training.stage")
PLACES = {
    "step": (loop.nn.utils, "clip_grad_norm_"),
    "write": (os, "fsync"),
    "validation": (loop._Run, "validate"),
}

def disturbed(number, number_of_signal, function):
    calls = 0
    def counted(*given, **named):
        nonlocal calls
        calls += 1
        result = function(*given, **named)
        if calls == number:
            os.kill(os.getpid(), number_of_signal)
        return result
    return counted

def run(arguments, log, where, number, number_of_signal):
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    if where in PLACES:
        place, name = PLACES[where]
        setattr(place, name, disturbed(number, number_of_signal, getattr(place, name)))
    try:
        main(arguments)
    except SystemExit as end:
        os._exit(end.code or 0)
    os._exit(99)

for line in sys.stdin:
    arguments, log, attempts = json.loads(line)
    ends = []
    for attempt in attempts:
        child = os.fork()
        if child == 0:
            run(arguments, log, *attempt)
        ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    print(json.dumps(ends), flush=True)
"""
KILL, TERM, USR1 = int(signal.SIGKILL), int(signal.SIGTERM), int(signal.SIGUSR1)
TO_THE_END = ("nowhere", 0, 0)


@pytest.fixture(scope="module")
def attempts():
    """Process that trains in processes of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", ATTEMPTS],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
    ) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def samples(write_sample):
    return [write_sample("signal", 1.0, 1, seed=1), write_sample("background", 0.0, 0, seed=2)]


@pytest.fixture
def job():
    """9 or 10 steps in each of 4 epochs of a network with dropout and an average."""
    training = Training(epochs=4, patience=3, batch_size=64, learning_rate=1e-2, average=0.9)
    model = Mlp(
        architecture="mlp", features=("x", "noise"), hidden=(8,), dropout=0.2, training=training
    )
    return TrainingJob(model=model, folds=FOLDS, seed=3)


def changed(job, **update):
    training = job.model.training.model_copy(update=update)
    return job.model_copy(update={"model": job.model.model_copy(update={"training": training})})


def several(job, number):
    return job.model_copy(update={"model": job.model.model_copy(update={"ensemble": number})})


def train_kept(job, data, output, minutes=10.0):
    """As ``hepml train`` does; returns what it told."""
    told = []
    with resumable(output, minutes, told.append) as checkpoints:
        train_task(prepare(job, data, 0, CPU, output.parent), output, told.append, checkpoints)
    return told


def undisturbed(job, data, tmp_path):
    train(job, data, 0, tmp_path / "undisturbed", CPU, lambda _: None)
    return tmp_path / "undisturbed"


def assert_same(one, other):
    """Same weights, losses, rates and calibration; what depends on the clock may differ."""
    weights = [(folder / "model.safetensors").read_bytes() for folder in (one, other)]
    assert weights[0] == weights[1]
    contents = [json.loads((folder / "model.json").read_text()) for folder in (one, other)]
    for content in contents:
        for record in (content, *content.get("members", ())):
            for epoch in record["history"]:
                epoch.pop("events_per_second")
            for name in ("seconds", "events_per_second", "peak_memory_mb"):
                record.pop(name)
    assert contents[0] == contents[1]


@pytest.fixture
def attempt(attempts, tmp_path):
    """Exit codes of ``hepml train`` disturbed at one place after another, and what it told."""

    def attempt(job, data, output, disturbances):
        arguments = ["train", *map(str, data), "--settings", job.model_dump_json(), "--fold", "0"]
        arguments += ["--device", "cpu", "--checkpoint-minutes", "0", "--output", str(output)]
        log = tmp_path / "log"
        attempts.stdin.write(json.dumps([arguments, str(log), disturbances]) + "\n")
        attempts.stdin.flush()
        return json.loads(attempts.stdout.readline()), log.read_text()

    return attempt


def test_killed_at_random_steps_it_ends_as_if_undisturbed(attempt, job, samples, tmp_path):
    steps = np.random.default_rng(1).integers(1, 9, 5).tolist()  # from the start of each attempt
    kills = [*(("step", step, KILL) for step in steps), ("write", 4, KILL), ("validation", 1, KILL)]
    ends, told = attempt(job, samples, tmp_path / "net", [*kills, TO_THE_END])
    assert ends == [-KILL] * 7 + [0]
    assert told.count("going on after") >= 6
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))
    assert not (tmp_path / "net.resume").exists()


def test_sigterm_ends_the_command_with_code_75(attempt, job, samples, tmp_path):
    signals = [("step", 3, TERM), ("validation", 1, TERM), ("step", 3, USR1)]
    ends, told = attempt(job, samples, tmp_path / "net", signals)
    assert ends == [75, 75, 0]
    assert told.count("hepml: stopped by SIGTERM; ") == 2
    assert "Traceback" not in told
    assert "net.resume, as SIGUSR1 asked" in told
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))


@pytest.mark.parametrize(
    ("optimiser", "schedule"), [("ranger", "flat"), ("adamw", "cosine"), ("adamw", "constant")]
)
def test_every_optimiser_and_schedule_goes_on(job, samples, tmp_path, optimiser, schedule):
    job = changed(job, optimiser=optimiser, schedule=schedule, average=0.0)
    for step in (3, 14, 5):  # 14: in the second epoch of the attempt
        interrupted(job, samples, tmp_path / "net", step)
    train_kept(job, samples, tmp_path / "net")
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))


def transformer():
    training = Training(epochs=2, patience=1, batch_size=64, learning_rate=3e-3, average=0.9)
    return ParticleTransformer(
        architecture="particle_transformer",
        maximum=8,
        training=training,
    )


def cnn():
    training = Training(epochs=2, patience=1, batch_size=128, learning_rate=3e-3)
    images = Images(pixels=8)
    return Cnn(architecture="cnn", images=images, width=4, stages=1, dropout=0.1, training=training)


@pytest.mark.parametrize("model", [transformer, cnn])
def test_networks_on_particles_go_on(attempt, model, write_jets, tmp_path):
    jets = [write_jets(label, events=600, mean=6) for label in (0, 1)]
    job = TrainingJob(model=model(), folds=FOLDS, seed=3)
    kills = [("step", step, KILL) for step in (3, 2, 4)]
    ends, told = attempt(job, jets, tmp_path / "net", [*kills, TO_THE_END])
    assert ends == [-KILL] * 3 + [0]
    assert f"kernels: {kernels.description()}" in told
    assert_same(tmp_path / "net", undisturbed(job, jets, tmp_path))


def test_a_killed_ensemble_goes_on_with_its_next_network(attempt, job, samples, tmp_path):
    both = several(job, 2)
    # an epoch has 10 steps: the second attempt ends in the second network
    kills = [("step", 25, KILL)] * 2
    ends, told = attempt(both, samples, tmp_path / "net", [*kills, TO_THE_END])
    assert ends == [-KILL] * 2 + [0]
    last = told[told.rindex("network 1 of 2, going on") :]
    assert last.startswith("network 1 of 2, going on after 4 epochs and 0 of")
    assert "network 1 of 2, epoch" not in last
    assert "network 2 of 2, going on" in last
    assert_same(tmp_path / "net", undisturbed(both, samples, tmp_path))


class Disturbed:
    """Does something after so many steps of a training."""

    def __init__(self, monkeypatch, step, act):
        self.left = step
        original = loop._Run._step

        def counted(run, *batch):
            result = original(run, *batch)
            self.left -= 1
            if self.left == 0:
                act()
            return result

        monkeypatch.setattr(loop._Run, "_step", counted)


def interrupted(job, data, output, step, act=None, minutes=10.0):
    """A training that gets SIGTERM, or what ``act`` does, after so many steps."""
    act = act or partial(os.kill, os.getpid(), signal.SIGTERM)
    with pytest.MonkeyPatch.context() as patch:
        Disturbed(patch, step, act)
        told = []
        with pytest.raises(InterruptedTrainingError, match="the same command goes on from there"):
            told += train_kept(job, data, output, minutes)
    return told


def checkpoints(output):
    return sorted(output.with_name(f"{output.name}.resume").glob("network*.safetensors"))


def test_sigterm_keeps_the_state_at_the_step_and_ends(job, samples, tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    interrupted(job, samples, tmp_path / "net", 13)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "net").exists()
    assert len(checkpoints(tmp_path / "net")) == 2  # of the first epoch, and this
    told = train_kept(job, samples, tmp_path / "net")
    assert "going on after 1 epochs and 3 of 10 steps" in told
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))


def test_checkpoints_of_something_else_are_removed(job, samples, tmp_path):
    output = tmp_path / "net"
    interrupted(job, samples, output, 3)
    told = train_kept(changed(job, weight_decay=0.1), samples, output)
    assert any("checkpoints of other settings are removed; the training begins" in t for t in told)
    assert not any("going on" in line for line in told)
    assert_same(output, undisturbed(changed(job, weight_decay=0.1), samples, tmp_path))


def test_other_data_of_the_same_size_is_noticed(job, samples, tmp_path):
    interrupted(job, samples, tmp_path / "net", 3)
    x = np.load(samples[0] / "x.npy", mmap_mode="r+")
    x[7] += 1
    x.flush()
    told = train_kept(job, samples, tmp_path / "net")
    assert any("checkpoints of other data are removed" in line for line in told)
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))


def test_what_is_done_with_the_network_afterwards_does_not_count(job, samples, tmp_path):
    interrupted(job, samples, tmp_path / "net", 3)
    plain = job.model_copy(update={"model": job.model.model_copy(update={"calibration": "none"})})
    told = train_kept(plain, samples, tmp_path / "net")
    assert "going on after 0 epochs and 3 of 10 steps" in told
    assert_same(tmp_path / "net", undisturbed(plain, samples, tmp_path))


@pytest.mark.parametrize("damage", ["flip", "truncate"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_damaged_checkpoint_is_not_used(job, samples, tmp_path, damage, number):
    output = tmp_path / "net"
    interrupted(job, samples, output, 13)
    for file in checkpoints(output)[-number:]:
        content = bytearray(file.read_bytes())
        if damage == "flip":
            content[len(content) // 2] ^= 4
        file.write_bytes(content[: -1 if damage == "truncate" else None])
    told = train_kept(job, samples, output)
    assert sum("damaged, so it is not used" in line for line in told) == number
    # the one before is of the end of the first epoch
    assert ("going on after 1 epochs and 0 of 10 steps" in told) == (number == 1)
    assert_same(output, undisturbed(job, samples, tmp_path))


def test_ctrl_c_leaves_the_last_checkpoint(job, samples, tmp_path):
    def press():
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        Disturbed(patch, 13, press)
        with pytest.raises(KeyboardInterrupt):
            train_kept(job, samples, tmp_path / "net")
    told = train_kept(job, samples, tmp_path / "net")
    assert "going on after 1 epochs and 0 of 10 steps" in told
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))


def test_a_full_disk_does_not_end_the_training(job, samples, tmp_path, monkeypatch):
    kept = []

    to_disk = artifacts._to_disk

    def full(path):
        if path.parent.name != "net.resume":
            return to_disk(path)
        kept.append(checkpoints(tmp_path / "net"))
        raise OSError(28, "No space left on device")

    def fill():
        monkeypatch.setattr(artifacts, "_to_disk", full)

    Disturbed(monkeypatch, 13, fill)
    told = train_kept(job, samples, tmp_path / "net", EVERY_STEP)
    warnings = [line for line in told if "No space left on device" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("warning: no checkpoint could be written in")
    assert len(kept) > 10
    assert all(files == kept[0] and len(files) == 2 for files in kept)
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_does_not_end_the_training(job, samples, tmp_path):
    (tmp_path / "net.resume").mkdir(mode=0o500)
    told = train_kept(job, samples, tmp_path / "net")
    assert told[0].startswith("warning: no checkpoints can be written in")
    assert (tmp_path / "net/model.json").is_file()


def test_a_file_where_the_folder_should_be_does_not_end_the_training(job, samples, tmp_path):
    (tmp_path / "net.resume").write_text("mine")
    told = train_kept(job, samples, tmp_path / "net")
    assert told[0].startswith("warning: no checkpoints can be written in")
    assert (tmp_path / "net/model.json").is_file()
    assert (tmp_path / "net.resume").read_text() == "mine"


def test_a_second_process_is_refused(job, samples, tmp_path):
    def second():
        with pytest.raises(InputError, match=rf"process {os.getpid()} on .* is training this and"):
            train_kept(job, samples, tmp_path / "net")

    with pytest.MonkeyPatch.context() as patch:
        Disturbed(patch, 13, second)
        train_kept(job, samples, tmp_path / "net")
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))


def test_who_lost_the_lease_writes_nothing_more(job, samples, tmp_path):
    """The first training is overtaken by a second one, as by the retry of a job on another node."""
    output, seen = tmp_path / "net", []

    def overtake():
        shutil.copytree(output.with_name("net.resume"), tmp_path / "second.resume")
        (tmp_path / "second.resume/lease.json").unlink()
        holder = json.loads((output.with_name("net.resume") / "lease.json").read_text())
        holder |= {"token": "another", "host": "node7", "pid": 77}
        (output.with_name("net.resume") / "lease.json").write_text(json.dumps(holder))
        seen.extend(checkpoints(output))

    with pytest.MonkeyPatch.context() as patch:
        Disturbed(patch, 13, overtake)
        with pytest.raises(LostError, match="taken over by process 77 on node7; nothing more"):
            train_kept(job, samples, output)
    assert checkpoints(output) == seen
    assert not output.exists()
    assert (output.with_name("net.resume") / "lease.json").is_file()
    (tmp_path / "second.resume").rename(tmp_path / "other.resume")
    train_kept(job, samples, tmp_path / "other")
    assert_same(tmp_path / "other", undisturbed(job, samples, tmp_path))


def test_a_lease_without_a_sign_of_life_is_taken_over(job, samples, tmp_path, monkeypatch):
    """The clock of the dead node was a century ahead: only a change would count."""
    interrupted(job, samples, tmp_path / "net", 13)
    file = tmp_path / "net.resume/lease.json"
    file.write_text(
        json.dumps({"host": "node7", "space": "", "pid": 7, "started": "1", "token": "x"})
    )
    os.utime(file, (5e9, 5e9))
    monkeypatch.setattr(resume, "Lease", partial(lease.Lease, beat=0.05, patience=0.2))
    told = train_kept(job, samples, tmp_path / "net")
    assert told[:2] == [
        "process 7 on node7 was training this: waiting 0 s for a sign of life",
        "process 7 on node7 gives no sign of life: going on without it",
    ]
    assert "going on after 1 epochs and 3 of 10 steps" in told
    assert_same(tmp_path / "net", undisturbed(job, samples, tmp_path))
