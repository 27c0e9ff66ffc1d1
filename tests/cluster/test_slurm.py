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
from pathlib import Path

import pytest
import yaml
import yte

pytestmark = pytest.mark.cluster
PROFILES = os.environ.get("HEPML_CLUSTER", "slurm").split(",")
TARGETS = [f"results/small/{name}.json" for name in ("comparison", "provenance")]
# what is too little or too short in the first attempt: no Python with its packages fits in 150 MB
TIGHT = {
    "infer": {"mem_mb": "150 if attempt == 1 else 2300"},
    "provenance": {"runtime": "1 if attempt == 1 else 30"},
}


def small(workflow):
    """The quick analysis with fewer jets."""
    samples = {
        "top": {"role": "signal", "process": "top", "events": 400, "scale": "0.7"},
        "qcd": {"role": "background", "process": "qcd", "events": 800, "scale": "0.03"},
    }
    inference = {"replicas": 20}
    return workflow.config("quick", analysis="small", samples=samples, inference=inference)


def rows(folder):
    """The comparison without what a clock says."""
    content = json.loads((folder / TARGETS[0]).read_text())["rows"]
    return [{key: row[key] for key in row if key != "training_seconds"} for row in content]


@pytest.fixture(scope="module")
def local(workflow):
    """The comparison of a run without batch system."""
    for package in ("pythia8mc", "fastjet"):
        pytest.importorskip(package, reason="simulated collisions need the extra 'simulate'")
    workflow.run(TARGETS[0], "--configfile", small(workflow))
    return rows(workflow.folder)


def adapted(folder, name):
    """A shipped profile with tight resources, and with a shorter wait for the next status."""
    file = folder / f"profiles/{name}/config.yaml"
    content = yte.process_yaml(file.read_text(), require_use_yte=True)
    for rule, words in TIGHT.items():
        content["set-resources"].setdefault(rule, {}).update(words)
    content |= {"latency-wait": 10, "printshellcmds": False}
    if content["executor"] == "slurm":
        content["slurm-init-seconds-before-status-checks"] = 5
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return f"profiles/{name}"


def processes(job):
    """Process ids of a job, on either node, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it has ended
    return found


def cancel_in_training(jobs):
    """Cancel the second training if it is at work by now; gives whether it was."""
    started = [job for job in jobs if job.rule == "train" and job.state == "RUNNING"][1:2]
    if not started or not any(b"hepml train" in line for line in processes(started[0].id).values()):
        return False
    subprocess.run(["scancel", str(started[0].id)], check=True)
    return True


def let_hang(jobs):
    """Stop all processes of the first attempt at provenance; gives whether there were any."""
    found = [job for job in jobs if job.rule == "provenance" and job.minutes == 1]
    pids = [pid for job in found if job.state == "RUNNING" for pid in processes(job.id)]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    return bool(pids)


def disturb(slurm, process, deadline):
    """Cancel one training at work and let one job hang, until all is done."""
    cancelled = hung = False
    while process.poll() is None and time.monotonic() < deadline:
        jobs = slurm.jobs()
        cancelled = cancelled or cancel_in_training(jobs)
        hung = let_hang(jobs) or hung
        time.sleep(1)
    assert cancelled, "no training was cancelled: the test shows nothing"
    assert hung, "no job was stopped: the test shows nothing"


@pytest.fixture(scope="module", params=PROFILES)
def disturbed(request, slurm, tmp_path_factory, workflow):
    """A run through Slurm in which jobs are killed; its folder and the scheduler's records."""
    copy = type(workflow)(tmp_path_factory.mktemp("cluster"))
    before = {job.id for job in slurm.jobs()}
    command = [sys.executable, "-m", "snakemake", *TARGETS, "--configfile", small(copy)]
    printed = copy.folder / "printed.log"
    with printed.open("w") as log:
        process = subprocess.Popen(
            [*command, "--workflow-profile", adapted(copy.folder, request.param)],
            cwd=copy.folder,
            env=copy.environment,
            stdout=log,
            stderr=log,
        )
        try:
            disturb(slurm, process, deadline=time.monotonic() + 900)
        finally:
            process.terminate()
            process.wait(60)
    assert process.returncode == 0, printed.read_text()[-6000:]
    return copy.folder, [job for job in slurm.jobs() if job.id not in before]


def of_rule(records, rule):
    return [job for job in records if job.rule == rule]


def test_numbers_are_those_of_the_local_run_bit_for_bit(local, disturbed):
    assert rows(disturbed[0]) == local


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


def test_a_cancelled_training_is_done_again_with_more_memory_and_time(disturbed):
    _, records = disturbed
    trainings = of_rule(records, "train")
    assert sorted(job.state for job in trainings) == ["CANCELLED", *["COMPLETED"] * 3]
    again = trainings[-1]
    assert (again.state, again.memory_mb, again.minutes, again.gpus) == ("COMPLETED", 4600, 240, 1)


def test_a_job_beyond_its_memory_is_done_again_with_more(disturbed):
    _, records = disturbed
    jobs = of_rule(records, "infer")
    assert [job.memory_mb for job in jobs] == [150, 150, 2300, 2300]
    assert {job.state for job in jobs[:2]} <= {"FAILED", "OUT_OF_MEMORY"}
    assert {job.state for job in jobs[2:]} == {"COMPLETED"}


def test_a_job_beyond_its_time_is_done_again_with_more(disturbed):
    _, records = disturbed
    jobs = of_rule(records, "provenance")
    assert [(job.state, job.minutes) for job in jobs] == [("TIMEOUT", 1), ("COMPLETED", 30)]
