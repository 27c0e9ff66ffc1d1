"""The same analysis on this machine and through a real HTCondor, with a training being killed.

Only with ``HEPML_CLUSTER=htcondor``: Debian 12 has no package of it, and it takes 600 MB.
"""

import os
import signal
from dataclasses import dataclass, field
from typing import Any

import pytest

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        "htcondor" not in os.environ.get("HEPML_CLUSTER", ""),
        reason="HTCondor is started only with HEPML_CLUSTER=htcondor",
    ),
]


@dataclass
class Trouble:
    """What is done to a run: the first training with a checkpoint is killed.

    Attributes:
        run: what it is done to.
        killed: fold of that training.
        cards: which CUDA_VISIBLE_DEVICES the training of each fold had.
    """

    run: Any
    killed: str | None = None
    cards: dict[str, set] = field(default_factory=dict)

    def make(self):
        """Do it if it can be done by now."""
        for process in self.run.processes():
            if (fold := process.fold) is None:
                continue
            card = process.environment.get("CUDA_VISIBLE_DEVICES")
            self.cards.setdefault(fold, set()).add(card)
            if self.killed is None and self.run.has_checkpoint(fold):
                process.send(signal.SIGKILL)
                self.killed = fold


@pytest.fixture(scope="module")
def disturbed(condor, make_workflow, make_run):
    """The trouble of a run through HTCondor, and HTCondor's records of its jobs."""
    folder = condor.folder / "analysis"
    folder.mkdir()
    run = make_run(make_workflow(folder))
    environment = {"PYTHONPATH": run.workflow.environment["PYTHONPATH"]}
    command = condor.inside(run.command("htcondor"), environment)
    submitter = condor.folder.stat()
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, submitter.st_uid, submitter.st_gid)
    trouble = Trouble(run)
    run.watched(command, trouble.make, condor.environment)
    return trouble, condor.jobs()


def test_numbers_are_those_of_the_local_run_bit_for_bit(local, disturbed):
    assert disturbed[0].run.rows() == local


# 300 MB are added to what the rules say, for Snakemake's own processes in a job
def test_htcondor_was_asked_for_what_rules_and_profile_say(disturbed):
    _, records = disturbed
    assert sorted(record for record in records if record[0] != "train") == sorted(
        [
            *[("simulate", 0, 1800), ("data", 0, 1800), ("score", 0, 1800)] * 2,
            *[("infer", 0, 2300)] * 2,
            ("provenance", 0, 800),
        ]
    )


def test_each_training_sees_the_one_gpu_that_it_was_given(disturbed):
    trouble, _ = disturbed
    assert set(trouble.cards) == {"0", "1", "2"}
    assert set().union(*trouble.cards.values()) == {"CUDA0", "CUDA1"}


def test_a_killed_training_goes_on_in_a_new_job_with_more_memory(disturbed):
    trouble, records = disturbed
    trainings = [record for record in records if record[0] == "train"]
    assert trainings == [*[("train", 1, 2300)] * 3, ("train", 1, 4600)]
    assert [fold for fold in "012" if "going on after" in trouble.run.training_log(fold)] == [
        trouble.killed
    ]
