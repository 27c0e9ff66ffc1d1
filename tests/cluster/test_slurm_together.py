"""A training on two GPUs through a real Slurm, which is preempted and then cancelled.

There is no card behind the GPUs: its two processes train on CPUs. Profiles as in test_slurm.py.
"""

import contextlib
import json
import shutil
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
NETWORK = "results/tiny/training/mlp/fold0"
SILENCE = 20.0  # seconds, in which one query at least gets no answer; Slurm takes nine for one


@dataclass
class Trouble:
    """What is done to the training: another job takes its GPUs, and then it is cancelled.

    Attributes:
        slurm: the batch system.
        run: what it is done to.
        done: which of both has been done.
        told: what the training said by the time that it was stopped, and then released again.
        ranks: rank and CUDA_VISIBLE_DEVICES of the processes that trained, by job and restarts.
    """

    slurm: Any
    run: Any
    done: list[str] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    ranks: defaultdict[tuple[int, int], set] = field(default_factory=lambda: defaultdict(set))

    def make(self, jobs):
        """Do what can be done by now."""
        for job in of_rule(jobs, "train"):
            if job.state == "RUNNING":
                self._training(job)
            if job.state == "PENDING" and job.restarts and "preempted" not in self.told:
                self.told["preempted"] = self.run.training_log(0)
                self.slurm.release(job)
            if job.state == "CANCELLED" and "cancelled" not in self.told:
                self.told["cancelled"] = self.run.training_log(0)

    def _training(self, job):
        processes = [p for p in self.run.processes_of(job) if p.fold is not None]
        for process in processes:
            seen = process.environment["RANK"], process.environment["CUDA_VISIBLE_DEVICES"]
            self.ranks[job.id, job.restarts].add(seen)
        if len(processes) < 2 or not self.run.has_checkpoint(0):
            return
        if not self.done:
            stop(processes)
            self.slurm.submit("urgent", "urgent", gpus=3)
            self.done.append("preempted")
        elif self.done == ["preempted"] and job.restarts and "\nepoch" in self._since_it_went_on():
            stop(processes)
            self.slurm.tell("scancel", job.id)
            self.done.append("cancelled")

    def _since_it_went_on(self):
        return self.run.training_log(0).partition("going on after")[2]


def stop(processes):
    """Or the training may be done before the scheduler has acted; Slurm wakes whom it ends."""
    for process in processes:
        process.stop()


def of_rule(records, rule):
    return [job for job in records if job.rule == rule]


@dataclass(frozen=True)
class Network:
    """What was trained, without what a clock says."""

    weights: bytes
    history: list
    calibration: dict
    processes: int


def taken_away(run):
    """The network, whose files are removed."""
    folder = run.folder / NETWORK
    weights = (folder / "model.safetensors").read_bytes()
    record = json.loads((folder / "model.json").read_text())
    for epoch in record["history"]:
        del epoch["events_per_second"]
    shutil.rmtree(folder)
    return Network(weights, *(record[key] for key in ("history", "calibration", "processes")))


@pytest.fixture(scope="module")
def run(workflow, make_run):
    """In the folder of the run without batch system, whose samples are used again."""
    run = make_run(workflow)
    run.targets = (NETWORK,)
    return run


@pytest.fixture(scope="module")
def local_pair(run):
    """The network of two processes without batch system; its inputs stay."""
    shutil.rmtree(run.folder / NETWORK, ignore_errors=True)
    gpus = ["--resources", "gpu=2", "--set-resources", "train:gpu=2"]
    run.workflow.run(NETWORK, "--configfile", run.config, *gpus)
    return taken_away(run)


@pytest.fixture(scope="module")
def disturbed(profile, slurm, run, local_pair):  # noqa: ARG001, its inputs serve here
    """The trouble of the training, the scheduler's records, and the network."""
    run.adapt(profile, {}, gpus_per_training=2)
    before = {job.id for job in slurm.jobs()}
    trouble = Trouble(slurm, run)

    def records():
        return [job for job in slurm.jobs() if job.id not in before]

    run.watched(run.command(profile), lambda: trouble.make(records()))
    return trouble, records(), taken_away(run)


def test_the_network_is_that_of_two_local_processes_bit_for_bit(local_pair, disturbed):
    *_, network = disturbed
    assert network.processes == local_pair.processes == 2
    assert network == local_pair


def test_two_gpus_one_task_and_a_core_for_each_process_were_given(disturbed):
    _, records, _ = disturbed
    first, again = of_rule(records, "train")
    for job in (first, again):
        assert (job.partition, job.gpus, job.tasks, job.cpus) == ("gpu", 2, 1, 2)
    assert (first.memory_mb, again.memory_mb) == (4600, 9200)


def test_two_processes_train_each_time_and_both_see_both_gpus(disturbed):
    trouble, records, _ = disturbed
    first, again = of_rule(records, "train")
    assert set(trouble.ranks) == {(first.id, 0), (first.id, 1), (again.id, 0)}
    for seen in trouble.ranks.values():
        assert sorted(rank for rank, _ in seen) == ["0", "1"]
        (cards,) = {cards for _, cards in seen}
        assert len(set(cards.split(",")) & {"0", "1", "2"}) == 2


def test_a_job_of_higher_priority_takes_the_gpus_and_the_training_goes_on_in_its_job(disturbed):
    trouble, records, _ = disturbed
    (urgent,) = of_rule(records, "urgent")
    first, again = of_rule(records, "train")
    assert (urgent.state, urgent.gpus) == ("COMPLETED", 3)
    assert (first.restarts, again.restarts) == (1, 0)
    assert trouble.told["preempted"].count("stopped by SIGTERM") == 1
    assert trouble.told["cancelled"].count("going on after") == 1


def test_a_cancelled_training_goes_on_in_a_new_job(disturbed):
    trouble, records, _ = disturbed
    first, again = of_rule(records, "train")
    assert (first.state, again.state) == ("CANCELLED", "COMPLETED")
    assert trouble.told["cancelled"].count("stopped by SIGTERM") == 1
    assert trouble.run.training_log(0).count("going on after") == 1


def absences(slurm, run):
    """The scheduler is away when the training is submitted, and again when it ends."""
    with slurm.away():
        yield
        while "the job will be submitted when it is back" not in run.printed.read_text():
            yield
    while not run.has_checkpoint(0):
        yield
    with slurm.away():
        while not (run.folder / NETWORK).exists():
            yield
        end = time.monotonic() + SILENCE
        while time.monotonic() < end:
            yield


def test_slurm_generic_waits_while_the_scheduler_is_away(profile, slurm, run, local_pair):
    if profile != "slurm-generic":
        pytest.skip("profiles/slurm does not: docs/clusters.md")
    before = slurm.jobs()
    with contextlib.closing(absences(slurm, run)) as steps:
        next(steps)
        run.watched(run.command(profile), lambda: next(steps, None))
        assert next(steps, "both are over") == "both are over"
    (job,) = slurm.jobs()[len(before) :]
    assert (job.state, job.gpus, job.restarts) == ("COMPLETED", 2, 0)
    assert taken_away(run) == local_pair
