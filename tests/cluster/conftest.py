"""Batch systems that are started for tests, and only if asked for: ``pytest -m cluster``."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
import yte

HERE = Path(__file__).parent


def pytest_collection_modifyitems(config, items):
    """Leave out what starts a batch system, unless the marker was asked for."""
    started = [item for item in items if item.get_closest_marker("cluster")]
    if started and "cluster" not in config.option.markexpr:
        config.hook.pytest_deselected(items=started)
        items[:] = [item for item in items if item not in started]


@dataclass(frozen=True)
class Process:
    """A process of a job, on any node."""

    id: int
    command: list[str]
    environment: dict[str, str]

    @property
    def fold(self):
        """Of the network that it trains; None if it does anything else."""
        if [Path(word).name for word in self.command[1:3]] != ["hepml", "train"]:
            return None
        return self.command[self.command.index("--fold") + 1]

    def send(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.id, number)

    def stop(self):
        self.send(signal.SIGSTOP)


class Run:
    """The workflow in a folder of its own, with an analysis of seconds.

    Attributes:
        targets: what is made.
        printed: what Snakemake says while it is watched.
    """

    targets = tuple(f"results/tiny/{name}.json" for name in ("comparison", "provenance"))

    def __init__(self, workflow, tiny):
        self.workflow, self.folder = workflow, workflow.folder
        self.printed = self.folder / "printed.log"
        content = yaml.safe_load(tiny)
        # many epochs, to be stopped in
        content["models"]["mlp"]["training"] |= {"epochs": 60, "patience": 59}
        self.config = self.folder / "tiny.yaml"
        self.config.write_text(yaml.safe_dump(content, sort_keys=False))

    def command(self, profile):
        """Through a batch system, whose jobs it looks at every second."""
        shutil.copy(HERE / "impatient.py", self.folder)
        settings = ["--configfile", self.config, "--workflow-profile", f"profiles/{profile}"]
        settings += ["--max-status-checks-per-second", "10"]
        return [sys.executable, "impatient.py", *self.targets, *settings]

    def watched(self, command, step, environment=None):
        """Run such a command to its end, and call ``step`` five times a second meanwhile."""
        with self.printed.open("w") as log:
            process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment or self.workflow.environment,
                stdout=log,
                stderr=log,
            )
            try:
                deadline = time.monotonic() + 900
                while process.poll() is None and time.monotonic() < deadline:
                    step()
                    time.sleep(0.2)
            finally:
                process.terminate()
                process.wait(60)
        assert process.returncode == 0, self.printed.read_text()[-6000:]

    def adapt(self, profile, resources, **site):
        """Give rules other resources than a shipped profile does, and a site its settings."""
        file = self.folder / f"profiles/{profile}/config.yaml"
        text = file.read_text()
        for key, value in site.items():
            text, found = re.subn(rf"(?m)^  {key}: \S+", f"  {key}: {value}", text)
            assert found == 1, key
        content = yte.process_yaml(text, require_use_yte=True)
        for rule, words in resources.items():
            content["set-resources"].setdefault(rule, {}).update(words)
        file.write_text(yaml.safe_dump(content, sort_keys=False))

    def rows(self):
        """The comparison without what a clock says."""
        content = json.loads((self.folder / self.targets[0]).read_text())["rows"]
        return [{key: row[key] for key in row if key != "training_seconds"} for row in content]

    def processes(self):
        """All processes of its jobs, and its own."""
        for folder in Path("/proc").glob("[0-9]*"):
            # it has ended, or is the kernel's
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                words = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
                environment = dict(word.split("=", 1) for word in words if "=" in word)
                if environment.get("PYTHONPATH", "").startswith(str(self.folder)):
                    command = (folder / "cmdline").read_bytes().decode().split("\0")
                    yield Process(int(folder.name), command, environment)

    def processes_of(self, job):
        """Those of one job of Slurm."""
        number = str(job.id)
        return [p for p in self.processes() if p.environment.get("SLURM_JOB_ID") == number]

    def has_checkpoint(self, fold):
        kept = self.folder / f"results/tiny/training/mlp/fold{fold}.resume"
        return any(kept.glob("network0-*.safetensors"))

    def training_log(self, fold):
        """What its last attempt said."""
        return (self.folder / f"results/tiny/logs/training/mlp/fold{fold}.log").read_text()


@pytest.fixture(scope="session")
def make_run(tiny):
    return lambda workflow: Run(workflow, tiny)


@pytest.fixture(scope="session")
def workflow(make_workflow, tmp_path_factory):
    """That of the run without batch system."""
    return make_workflow(tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="session")
def local(workflow, make_run):
    """The comparison of a run without batch system."""
    run = make_run(workflow)
    workflow.run(run.targets[0], "--configfile", run.config)
    return run.rows()


class BatchSystem:
    """One that a script beside this file installs, starts and stops.

    Args:
        script: its name.
        folder: for configuration, state and logs.
        settings: more of them, in its environment.
    """

    def __init__(self, script, folder, **settings):
        self.script, self.folder = HERE / script, folder
        self.environment = os.environ | {"BASE": str(folder)} | settings

    def call(self, command):
        """Install, start or stop; gives whether it worked, and what was printed."""
        file = self.folder / f"{command}.log"
        # daemons keep what they inherit open: a pipe would never end
        with file.open("w") as log:
            answer = subprocess.run(
                [self.script, command], env=self.environment, stdout=log, stderr=log, check=False
            )
        return answer.returncode == 0, file.read_text()

    @contextlib.contextmanager
    def running(self, installed, packages):
        """Install it if need be, and start it; it is stopped in the end."""
        if not installed:
            if not shutil.which("apt-get"):
                pytest.skip(f"{packages} are missing and there is no apt-get to install them")
            installed, printed = self.call("install")
            if not installed:
                pytest.skip(f"{packages} could not be installed: {printed[-500:]}")
        started, printed = self.call("up")
        try:
            assert started, printed
            yield self
        finally:
            self.call("down")


@dataclass(frozen=True)
class Record:
    """What the scheduler itself says of one job."""

    id: int
    rule: str
    state: str
    partition: str
    memory_mb: float
    minutes: int
    tasks: int
    cpus: int
    gpus: int
    restarts: int


def read_record(line):
    """One line of ``scontrol --oneliner --details show job``.

    GPUs are those that were given. TRES lists them only where AccountingStorageTRES names them,
    and TresPerJob and TresPerNode say what was asked for, each by another option of sbatch.
    """
    field = dict(re.findall(r"(\S+?)=(\S*)", line))
    size, unit = re.fullmatch(r"([\d.]+)([MG])", field["MinMemoryNode"]).groups()
    hours, minutes, _ = map(int, field["TimeLimit"].split(":"))
    gpus = re.fullmatch(r"gpu:(?:[^:,]+:)?(\d+)", field.get("JOB_GRES", ""))
    return Record(
        id=int(field["JobId"]),
        rule=field["Comment"].removeprefix("rule_").split("_wildcards")[0],
        state=field["JobState"],
        partition=field["Partition"],
        memory_mb=float(size) * {"M": 1, "G": 1024}[unit],
        minutes=60 * hours + minutes,
        tasks=int(field["NumTasks"]),
        cpus=int(field["NumCPUs"]),
        gpus=int(gpus[1]) if gpus else 0,
        restarts=int(field["Restarts"]),
    )


class Slurm(BatchSystem):
    """A Slurm with two nodes and three GPUs on this machine."""

    def tell(self, *command):
        """Have one of Slurm's commands do something."""
        subprocess.run(list(map(str, command)), check=True)

    @contextlib.contextmanager
    def away(self):
        """Nobody answers in this block, and jobs go on."""
        self.call("away")
        try:
            yield
        finally:
            done, printed = self.call("back")
            assert done, printed

    def submit(self, name, partition, gpus):
        """A job that does nothing, on so many GPUs; the name is that of a rule in its record."""
        words = [f"--comment=rule_{name}", f"--partition={partition}", f"--gpus={gpus}"]
        self.tell("sbatch", *words, "--mem=100", "--time=1", "--output=/dev/null", "--wrap=true")

    def release(self, job):
        """Let a requeued job start at once.

        By default Slurm waits two minutes, until its credentials of the first run expire.
        """
        self.tell("scontrol", "update", f"JobId={job.id}", "StartTime=now")

    def jobs(self):
        """Records of all jobs, those that have ended too, in the order of submission."""
        answer = subprocess.run(
            ["scontrol", "--oneliner", "--details", "show", "job"],
            text=True,
            capture_output=True,
            check=True,
        )
        lines = [line for line in answer.stdout.splitlines() if "JobId=" in line]
        return sorted(map(read_record, lines), key=lambda record: record.id)


class Condor(BatchSystem):
    """An HTCondor with one machine and two GPUs, in a Debian of its own."""

    def inside(self, command, environment):
        """How to start a command where HTCondor is, as the user who submits."""
        words = [f"{name}={value}" for name, value in environment.items()]
        return [self.script, "run", "env", *words, *command]

    def jobs(self):
        """Rule, GPUs and MB of all jobs that have ended, in the order of submission."""
        fields = ["ClusterId", "JobBatchName", "RequestGPUs", "RequestMemory"]
        answer = subprocess.run(
            self.inside(["condor_history", "-af", *fields], {}),
            env=self.environment,
            text=True,
            capture_output=True,
            check=True,
        )
        lines = sorted(map(str.split, answer.stdout.splitlines()), key=lambda line: int(line[0]))
        return [
            (name.rsplit("-", 1)[0], int(gpus.replace("undefined", "0")), int(memory))
            for _, name, gpus, memory in lines
        ]


def require(plugin):
    """Skip the tests if a batch system cannot be started."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip(f"daemons of {plugin} start as root only")
    if not find_spec(f"snakemake_executor_plugin_{plugin}"):
        pytest.skip(f"its plugin is missing: pip install -c constraints.txt -e '.[{plugin}]'")


PROFILES = os.environ.get("HEPML_CLUSTER", "slurm").split(",")


@pytest.fixture(scope="module", params=[name for name in PROFILES if name.startswith("slurm")])
def profile(request):
    """The profiles for Slurm that were asked for."""
    return request.param


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    require("slurm")
    slurm = Slurm("slurm_up.sh", tmp_path_factory.mktemp("slurm"))
    with slurm.running(shutil.which("slurmctld"), "slurm-wlm and munge"):
        yield slurm


@pytest.fixture(scope="module")
def condor():
    require("htcondor")
    if sys.base_prefix == "/usr":
        pytest.skip("HTCondor's Debian has a /usr of its own: take a Python that lies elsewhere")
    root = Path(os.environ.get("HEPML_CONDOR_ROOT", "/var/tmp/hepml-condor-debian"))
    # not pytest's folder, which the user who submits may not enter
    with tempfile.TemporaryDirectory(prefix="hepml-condor-") as name:
        Path(name).chmod(0o755)
        settings = {"ROOT": str(root), "VENV": sys.prefix, "PY": sys.base_prefix}
        condor = Condor("condor_up.sh", Path(name), **settings)
        installed = (root / "usr/sbin/condor_master").exists()
        with condor.running(installed, "debootstrap and condor"):
            yield condor
