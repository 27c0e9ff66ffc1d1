"""The same analysis on this machine and through a real Slurm, with jobs being killed on the way.

``HEPML_CLUSTER=slurm-generic`` takes that profile instead of ``slurm``; both by a comma.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pytest

pytestmark = pytest.mark.cluster
# the first attempt at provenance will hang; no Python with its packages fits into the second
TIGHT = {"provenance": {"mem_mb": "150 if attempt == 2 else 800 * attempt"}}


@dataclass
class Trouble:
    """What is done to a run: one training cancelled, one requeued, and a job that hangs.

    Attributes:
        slurm: the batch system.
        run: what it is done to.
        cancelled: fold of the first training with a checkpoint.
        requeued: fold and job of the second.
        released: whether the requeued job may start again.
        hung: the job that hangs.
        cards: which CUDA_VISIBLE_DEVICES the processes of each training had.
    """

    slurm: Any
    run: Any
    cancelled: str | None = None
    requeued: tuple[str, int] | None = None
    released: bool = False
    hung: int | None = None
    cards: defaultdict[int, set] = field(default_factory=lambda: defaultdict(set))

    def make(self, jobs):
        """Do what can be done by now."""
        for job in jobs:
            if job.restarts and job.state == "PENDING" and not self.released:
                self.slurm.release(job)
                self.released = True
            if job.state == "RUNNING" and job.rule == "train":
                self._training(job)
            if job.state == "RUNNING" and job.rule == "provenance" and self.hung is None:
                self._let_hang(job)

    def _training(self, job):
        for process in self.run.processes_of(job):
            if (fold := process.fold) is None:
                continue
            self.cards[job.id].add(process.environment.get("CUDA_VISIBLE_DEVICES"))
            if not self.run.has_checkpoint(fold):
                continue
            if self.cancelled is None:
                process.stop()  # or it may be done before the scheduler has acted
                self.slurm.tell("scancel", job.id)
                self.cancelled = fold
            elif self.requeued is None and fold != self.cancelled:
                process.stop()
                self.slurm.tell("scontrol", "requeue", job.id)
                self.requeued = fold, job.id

    def _let_hang(self, job):
        """Stop all processes, and bring the end of the job's time forward."""
        for process in self.run.processes_of(job):
            process.stop()
            self.hung = job.id
        if self.hung:
            self.slurm.tell("scontrol", "update", f"JobId={job.id}", "EndTime=now")


@pytest.fixture(scope="module")
def disturbed(profile, slurm, tmp_path_factory, make_workflow, make_run):
    """A run through Slurm in which jobs are killed: its trouble, and the scheduler's records."""
    run = make_run(make_workflow(tmp_path_factory.mktemp("cluster")))
    run.adapt(profile, TIGHT)
    before = {job.id for job in slurm.jobs()}
    trouble = Trouble(slurm, run)

    def records():
        return [job for job in slurm.jobs() if job.id not in before]

    run.watched(run.command(profile), lambda: trouble.make(records()))
    return trouble, records()


def of_rule(records, rule):
    return [job for job in records if job.rule == rule]


def test_numbers_are_those_of_the_local_run_bit_for_bit(local, disturbed):
    assert disturbed[0].run.rows() == local


# resources stand in the rules, and 300 MB are added for Snakemake's own processes in a job
def test_the_scheduler_was_asked_for_what_rules_and_profile_say(disturbed):
    _, records = disturbed
    first = [job for job in of_rule(records, "train") if job.minutes == 120]
    assert len(first) == 3
    assert {(job.partition, job.gpus, job.memory_mb) for job in first} == {("gpu", 1, 2300)}
    others = [job for job in records if job.rule != "train"]
    assert {job.rule for job in others} == {"simulate", "data", "score", "infer", "provenance"}
    assert {(job.partition, job.gpus) for job in others} == {("cpu", 0)}
    simulated = of_rule(records, "simulate")
    assert {(job.memory_mb, job.minutes) for job in simulated} == {(1800, 60)}


def test_each_training_sees_the_one_gpu_that_it_was_given(disturbed):
    trouble, records = disturbed
    assert set(trouble.cards) == {job.id for job in of_rule(records, "train")}
    *rest, requeued = sorted(trouble.cards.values(), key=len)
    assert all(cards in ({"0"}, {"1"}, {"2"}) for cards in rest)
    assert requeued <= {"0", "1", "2"}  # its second run may have got another one


def test_a_cancelled_training_goes_on_in_a_new_job_with_more_memory_and_time(disturbed):
    trouble, records = disturbed
    trainings = of_rule(records, "train")
    assert sorted(job.state for job in trainings) == ["CANCELLED", *["COMPLETED"] * 3]
    again = trainings[-1]
    assert (again.state, again.memory_mb, again.minutes, again.gpus) == ("COMPLETED", 4600, 240, 1)
    assert "going on after" in trouble.run.training_log(trouble.cancelled)


def test_a_requeued_training_goes_on_in_the_same_job(disturbed):
    trouble, records = disturbed
    fold, number = trouble.requeued
    (requeued,) = [job for job in records if job.restarts]
    assert (requeued.id, requeued.restarts, requeued.state) == (number, 1, "COMPLETED")
    assert (requeued.memory_mb, requeued.minutes, requeued.gpus) == (2300, 120, 1)
    assert "going on after" in trouble.run.training_log(fold)


def test_the_training_that_nobody_stopped_began_once(disturbed):
    trouble, _ = disturbed
    (other,) = {"0", "1", "2"} - {trouble.cancelled, trouble.requeued[0]}
    assert "going on after" not in trouble.run.training_log(other)


def test_a_job_beyond_its_time_and_then_its_memory_is_done_again_with_more(disturbed):
    trouble, records = disturbed
    first, second, third = of_rule(records, "provenance")
    assert (first.id, first.state, first.memory_mb) == (trouble.hung, "TIMEOUT", 800)
    assert second.state in {"FAILED", "OUT_OF_MEMORY"}
    assert (second.memory_mb, second.minutes) == (150, 120)
    assert (third.state, third.memory_mb, third.minutes) == ("COMPLETED", 2400, 180)
