"""The shipped profiles, as Snakemake reads them, and the rules they speak of; nothing is run."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yte

REPOSITORY = Path(__file__).parents[2]
BATCH = ("slurm", "slurm-generic", "htcondor")
STATUS = REPOSITORY / "profiles/slurm-generic/status.py"
SUBMIT = REPOSITORY / "profiles/slurm-generic/submit.py"


def profile(name, **site):
    """A profile, with some of its site's settings changed."""
    text = (REPOSITORY / f"profiles/{name}/config.yaml").read_text()
    for key, value in site.items():
        text, found = re.subn(rf"(?m)^  {key}: \S+", f"  {key}: {value}", text)
        assert found == 1, key
    return yte.process_yaml(text, require_use_yte=True)


def rules():
    """Name of each rule with its text and, before that, the text of the rule it is derived from."""
    texts = {}
    for file in sorted((REPOSITORY / "workflow/rules").glob("*.smk")):
        for part in re.split(r"(?m)^(?=(?:use )?rule )", file.read_text())[1:]:
            header = re.match(r"use rule (\w+) as (\w+) with:", part)
            if header:
                texts[header[2]] = part, header[1]
            else:
                texts[re.match(r"rule (\w+):", part)[1]] = part, None
    return {name: (texts[old][0] if old else "") + text for name, (text, old) in texts.items()}


def test_each_rule_says_what_it_needs_or_runs_beside_the_main_process():
    for name, text in rules().items():
        assert ("**needs(" in text) != ("localrule: True" in text), name


def test_retries_stand_in_profiles_and_never_in_a_rule():
    assert not [name for name, text in rules().items() if "retries" in text]
    assert all(profile(name)["retries"] >= 1 for name in BATCH)


@pytest.mark.parametrize("name", BATCH)
def test_each_rule_with_a_gpu_is_decided_by_the_profile(name):
    gpu = {rule for rule, text in rules().items() if "gpu=True" in text}
    assert {"train", "train_member", "ensemble", "score", "plot_saliency"} < gpu
    word = "request_gpus" if name == "htcondor" else "gpu"
    for number in (0, 2):
        asked = profile(name, gpus_per_training=number, gpus_per_scoring=1 - number // 2)
        decided = {rule: words[word] for rule, words in asked["set-resources"].items()}
        assert set(decided) == gpu
        assert decided["train"] == decided["train_smaller"] == number
        assert decided["ensemble"] == min(number, 1)  # only calibrates
        assert decided["score"] == decided["plot_importance"] == 1 - number // 2


@pytest.mark.parametrize("name", BATCH)
def test_processes_that_train_together_get_a_core_and_the_memory_of_one_each(name):
    memory = "htcondor_request_mem_mb" if name == "htcondor" else "mem_mb"
    two, one = (profile(name, gpus_per_training=number) for number in (2, 1))
    assert two["set-threads"]["train"] == 2
    assert one["set-threads"]["train"] == 1
    assert two["set-resources"]["train"][memory] == "4600 * attempt"  # twice what the rule says
    assert memory not in one["set-resources"]["train"]
    assert two["set-resources"]["train"]["gpu"] == 2  # the rule starts so many processes


@pytest.mark.parametrize("name", ["slurm", "slurm-generic"])
def test_jobs_with_a_gpu_and_no_others_go_to_its_partition(name):
    site = {"partition": "short", "gpu_partition": "cards"}
    on_gpus = profile(name, **site)["set-resources"]
    assert on_gpus["train"]["slurm_partition"] == "cards"
    assert "slurm_partition" not in on_gpus["score"]
    assert profile(name, **site)["default-resources"]["slurm_partition"] == "short"
    on_cpus = profile(name, gpus_per_training=0, **site)["set-resources"]
    assert "slurm_partition" not in on_cpus["train"]


def test_an_account_or_a_job_flavour_is_passed_on_if_given():
    assert "slurm_account" not in profile("slurm")["default-resources"]
    assert profile("slurm", account="hep")["default-resources"]["slurm_account"] == "hep"
    generic = profile("slurm-generic", extra='"--account=hep --constraint=a100"')
    assert generic["cluster-generic-submit-cmd"].endswith("--account=hep --constraint=a100")
    condor = profile("htcondor", job_flavour="longlunch", longest_minutes=240)
    assert condor["default-resources"]["classad_JobFlavour"] == "'longlunch'"
    assert condor["set-resources"]["train"]["classad_RequestRuntime"] == "14400 * attempt"


def test_groups_are_rules_that_run_as_batch_jobs_on_cpus():
    texts = rules()
    for rule in profile("slurm")["groups"]:
        assert "gpu=True" not in texts[rule], rule
        assert "localrule" not in texts[rule], rule


def test_limits_of_a_machine_never_take_a_gpu_away():
    for name in ("default", "gpu"):
        assert profile(name)["resources"] == ["gpu=1"]  # 0 would turn each request into none
    assert not any("resources" in profile(name) for name in BATCH)


@pytest.mark.parametrize(
    ("printed", "error", "expected"),
    [
        ("JobId=7 JobName=train JobState=COMPLETED Reason=None", "", "success"),
        ("JobId=7 JobState=RUNNING Reason=None", "", "running"),
        ("JobId=7 JobState=PENDING Reason=Resources", "", "running"),
        ("JobId=7 JobState=CANCELLED Reason=None", "", "failed"),
        ("JobId=7 JobState=TIMEOUT Reason=TimeLimit", "", "failed"),
        ("JobId=7 JobState=OUT_OF_MEMORY Reason=OutOfMemory", "", "failed"),
        ("JobId=7 JobState=NODE_FAIL Reason=NodeDown", "", "failed"),
        ("", "slurm_load_jobs error: Invalid job id specified", "failed"),
        # the scheduler is away: the job is not given up
        ("", "Unable to contact slurm controller (connect failure)", "running"),
        ("", "slurm_load_jobs error: Socket timed out on send/recv operation", "running"),
    ],
)
def test_the_status_script_survives_an_outage_of_the_scheduler(tmp_path, printed, error, expected):
    put(tmp_path / "scontrol", f"echo '{printed}'\necho '{error}' >&2\n[ -z '{error}' ]")
    answer = call(STATUS, "7", commands=tmp_path)
    assert answer.returncode == 0
    assert answer.stdout.strip() == expected


def put(command, script):
    """A command of Slurm."""
    command.write_text(f"#!/bin/sh\n{script}\n")
    command.chmod(0o755)


def call(script, *words, commands):
    """One of the scripts, as Snakemake calls it, where Slurm has these commands."""
    return subprocess.run(
        [script, *words],
        env=os.environ | {"PATH": f"{commands}:{os.environ['PATH']}"},
        text=True,
        capture_output=True,
        check=False,
    )


def test_a_job_is_submitted_when_the_scheduler_is_back(tmp_path):
    fail = "echo 'sbatch: error: Batch job submission failed: Unable to contact slurm controller"
    fail += " (connect failure)' >&2; exit 1"
    put(
        tmp_path / "sbatch",
        f"echo $* >> {tmp_path}/calls\nmkdir {tmp_path}/once && {{ {fail}; }}\necho 42",
    )
    answer = call(SUBMIT, "--gpus=2", "job.sh", commands=tmp_path)
    assert (answer.returncode, answer.stdout) == (0, "42\n")
    assert "the job will be submitted when it is back" in answer.stderr
    assert (tmp_path / "calls").read_text() == "--parsable --gpus=2 job.sh\n" * 2


# the answer may have been lost after the job was taken: a second one would write the same files
@pytest.mark.parametrize(
    "reason", ["Invalid partition name specified", "Socket timed out on send/recv operation"]
)
def test_no_job_is_submitted_twice(tmp_path, reason):
    put(tmp_path / "sbatch", f"echo called >> {tmp_path}/calls\necho '{reason}' >&2\nexit 3")
    answer = call(SUBMIT, "job.sh", commands=tmp_path)
    assert (answer.returncode, answer.stdout) == (3, "")
    assert reason in answer.stderr
    assert (tmp_path / "calls").read_text() == "called\n"
