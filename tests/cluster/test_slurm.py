"""The same analysis on this machine and through a real Slurm, with jobs being killed on the way.

``HEPML_CLUSTER=slurm-generic`` takes that profile instead of ``slurm``; both by a comma.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
import yte

pytestmark = pytest.mark.cluster
PROFILES = os.environ.get("HEPML_CLUSTER", "slurm").split(",")
SNAKEMAKE = Path(__file__).parent / "impatient.py"
TARGETS = [f"results/tiny/{name}.json" for name in ("comparison", "provenance")]
# the first attempt at provenance will hang; no Python with its packages fits into the second
TIGHT = {"provenance": {"mem_mb": "150 if attempt == 2 else 800 * attempt"}}


def config(workflow, tiny):
    """An analysis of seconds, in which a training has many epochs to be stopped in."""
    content = yaml.safe_load(tiny)
    content["models"]["mlp"]["training"] |= {"epochs": 60, "patience": 59}
    path = workflow.folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def rows(folder):
    """The comparison without what a clock says."""
    content = json.loads((folder / TARGETS[0]).read_text())["rows"]
    return [{key: row[key] for key in row if key != "training_seconds"} for row in content]


@pytest.fixture(scope="module")
def local(workflow, tiny):
    """The comparison of a run without batch system."""
    workflow.run(TARGETS[0], "--configfile", config(workflow, tiny))
    return rows(workflow.folder)


def adapted(folder, name):
    """A shipped profile with too little memory for one attempt."""
    file = folder / f"profiles/{name}/config.yaml"
    content = yte.process_yaml(file.read_text(), require_use_yte=True)
    for rule, words in TIGHT.items():
        content["set-resources"].setdefault(rule, {}).update(words)
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return f"profiles/{name}"


@dataclass(frozen=True)
class Process:
    """A process of a job, on either node."""

    id: int
    command: list[str]
    environment: dict[str, str]

    @property
    def trains(self):
        """Which fold; None if it does anything else."""
        if [Path(word).name for word in self.command[1:3]] != ["hepml", "train"]:
            return None
        return self.command[self.command.index("--fold") + 1]

    def stop(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.id, signal.SIGSTOP)


def processes(job):
    """All processes of a job."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        # it has ended, or is the kernel's
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            words = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            environment = dict(word.split("=", 1) for word in words if "=" in word)
            if environment.get("SLURM_JOB_ID") == str(job.id):
                command = (folder / "cmdline").read_bytes().decode().split("\0")
                found.append(Process(int(folder.name), command, environment))
    return found


@dataclass
class Trouble:
    """What is done to a run: one training cancelled, one requeued, and a job that hangs.

    Attributes:
        folder: of the run.
        cancelled: fold of the first training with a checkpoint.
        requeued: fold and job of the second.
        released: whether the requeued job may start again.
        hung: the job that hangs.
        cards: which CUDA_VISIBLE_DEVICES the processes of each training had.
    """

    folder: Path
    cancelled: str | None = None
    requeued: tuple[str, int] | None = None
    released: bool = False
    hung: int | None = None
    cards: defaultdict[int, set] = field(default_factory=lambda: defaultdict(set))

    def make(self, jobs):
        """Do what can be done by now."""
        for job in jobs:
            if job.restarts and job.state == "PENDING" and not self.released:
                # at once: by default Slurm waits until its credentials of the first run expire
                tell("scontrol", "update", f"JobId={job.id}", "StartTime=now")
                self.released = True
            if job.state == "RUNNING" and job.rule == "train":
                self._training(job)
            if job.state == "RUNNING" and job.rule == "provenance" and self.hung is None:
                self._let_hang(job)

    def _training(self, job):
        for process in processes(job):
            if (fold := process.trains) is None:
                continue
            self.cards[job.id].add(process.environment.get("CUDA_VISIBLE_DEVICES"))
            kept = self.folder / f"results/tiny/training/mlp/fold{fold}.resume"
            if not list(kept.glob("network0-*.safetensors")):
                continue
            if self.cancelled is None:
                process.stop()  # or it may be done before the scheduler has acted
                tell("scancel", job.id)
                self.cancelled = fold
            elif self.requeued is None and fold != self.cancelled:
                process.stop()
                tell("scontrol", "requeue", job.id)
                self.requeued = fold, job.id

    def _let_hang(self, job):
        """Stop all processes, and bring the end of the job's time forward."""
        for process in processes(job):
            process.stop()
            self.hung = job.id
        if self.hung:
            tell("scontrol", "update", f"JobId={job.id}", "EndTime=now")


def tell(*command):
    subprocess.run(list(map(str, command)), check=True)


@pytest.fixture(scope="module", params=PROFILES)
def disturbed(request, slurm, tmp_path_factory, workflow, tiny):
    """A run through Slurm in which jobs are killed: its trouble, and the scheduler's records."""
    copy = type(workflow)(tmp_path_factory.mktemp("cluster"))
    before = {job.id for job in slurm.jobs()}
    command = [sys.executable, SNAKEMAKE, *TARGETS, "--configfile", config(copy, tiny)]
    printed = copy.folder / "printed.log"
    trouble = Trouble(copy.folder)
    with printed.open("w") as log:
        process = subprocess.Popen(
            [*command, "--workflow-profile", adapted(copy.folder, request.param)],
            cwd=copy.folder,
            env=copy.environment,
            stdout=log,
            stderr=log,
        )
        try:
            deadline = time.monotonic() + 900
            while process.poll() is None and time.monotonic() < deadline:
                trouble.make([job for job in slurm.jobs() if job.id not in before])
                time.sleep(0.2)
        finally:
            process.terminate()
            process.wait(60)
    assert process.returncode == 0, printed.read_text()[-6000:]
    return trouble, [job for job in slurm.jobs() if job.id not in before]


def of_rule(records, rule):
    return [job for job in records if job.rule == rule]


def test_numbers_are_those_of_the_local_run_bit_for_bit(local, disturbed):
    assert rows(disturbed[0].folder) == local


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
    assert all(cards in ({"0"}, {"1"}) for cards in rest)
    assert requeued <= {"0", "1"}  # its second run may have got the other one


def test_a_cancelled_training_goes_on_in_a_new_job_with_more_memory_and_time(disturbed):
    trouble, records = disturbed
    trainings = of_rule(records, "train")
    assert sorted(job.state for job in trainings) == ["CANCELLED", *["COMPLETED"] * 3]
    again = trainings[-1]
    assert (again.state, again.memory_mb, again.minutes, again.gpus) == ("COMPLETED", 4600, 240, 1)
    assert "going on after" in training_log(trouble.folder, trouble.cancelled)


def test_a_requeued_training_goes_on_in_the_same_job(disturbed):
    trouble, records = disturbed
    fold, number = trouble.requeued
    (requeued,) = [job for job in records if job.restarts]
    assert (requeued.id, requeued.restarts, requeued.state) == (number, 1, "COMPLETED")
    assert (requeued.memory_mb, requeued.minutes, requeued.gpus) == (2300, 120, 1)
    assert "going on after" in training_log(trouble.folder, fold)


def test_the_training_that_nobody_stopped_began_once(disturbed):
    folder, stopped = disturbed[0].folder, {disturbed[0].cancelled, disturbed[0].requeued[0]}
    (other,) = {"0", "1", "2"} - stopped
    assert "going on after" not in training_log(folder, other)


def training_log(folder, fold):
    return (folder / f"results/tiny/logs/training/mlp/fold{fold}.log").read_text()


def test_a_job_beyond_its_time_and_then_its_memory_is_done_again_with_more(disturbed):
    trouble, records = disturbed
    first, second, third = of_rule(records, "provenance")
    assert (first.id, first.state, first.memory_mb) == (trouble.hung, "TIMEOUT", 800)
    assert second.state in {"FAILED", "OUT_OF_MEMORY"}
    assert (second.memory_mb, second.minutes) == (150, 120)
    assert (third.state, third.memory_mb, third.minutes) == ("COMPLETED", 2400, 180)
