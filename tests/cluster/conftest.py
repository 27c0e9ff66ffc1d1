"""Batch systems that are started for tests, and only if asked for: ``pytest -m cluster``."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

SLURM_UP = Path(__file__).parent / "slurm_up.sh"


def pytest_collection_modifyitems(config, items):
    """Leave out what starts a batch system, unless the marker was asked for."""
    started = [item for item in items if item.get_closest_marker("cluster")]
    if started and "cluster" not in config.option.markexpr:
        config.hook.pytest_deselected(items=started)
        items[:] = [item for item in items if item not in started]


@dataclass(frozen=True)
class Record:
    """What the scheduler itself says of one job."""

    id: int
    rule: str
    state: str
    partition: str
    memory_mb: float
    minutes: int
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
        gpus=int(gpus[1]) if gpus else 0,
        restarts=int(field["Restarts"]),
    )


class Slurm:
    """A Slurm with two nodes and two GPUs on this machine."""

    def __init__(self, folder):
        self.folder = folder

    def call(self, command):
        """Install, start or stop; gives whether it worked, and what was printed."""
        file = self.folder / f"{command}.log"
        # daemons keep what they inherit open: a pipe would never end
        with file.open("w") as log:
            answer = subprocess.run(
                [SLURM_UP, command],
                env=os.environ | {"BASE": str(self.folder)},
                stdout=log,
                stderr=log,
                check=False,
            )
        return answer.returncode == 0, file.read_text()

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


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("Slurm's daemons start as root only")
    if not find_spec("snakemake_executor_plugin_slurm"):
        pytest.skip("the Slurm plugin is missing: pip install -c constraints.txt -e '.[slurm]'")
    cluster = Slurm(tmp_path_factory.mktemp("slurm"))
    if not shutil.which("slurmctld"):
        if not shutil.which("apt-get"):
            pytest.skip("slurmctld is missing and there is no apt-get to install it")
        installed, printed = cluster.call("install")
        if not installed:
            pytest.skip(f"slurm-wlm and munge could not be installed: {printed[-500:]}")
    started, printed = cluster.call("up")
    try:
        assert started, printed
        yield cluster
    finally:
        cluster.call("down")
