"""A tiny config; whole workflow runs, in a copy that leaves nothing in the repository."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]

# Tests that run at the same time share the cores: threads beyond those wait in loops for each
# other, and everything takes several times as long. To be said before torch is imported.
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // _workers)))


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that no worker is left alone with one of them."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


TINY = """
analysis: tiny
title: Tiny
luminosity: 1
seed: 5
folds: 3
samples:
  s: {role: signal, process: toy_signal, events: 3000, expected_events: 50}
  b: {role: background, process: toy_background, events: 3000, expected_events: 500}
simulation: {toy: shift}
data:
  schema: simulation
  particles: false
  variables: {x0: x0, x1: x1}
cuts:
  - {variable: x0, keep: above}
models:
  mlp:
    architecture: mlp
    features: [x0, x1]
    hidden: [16]
    training: {epochs: 3, patience: 2, batch_size: 128}
inference:
  background_uncertainty: 0.1
  bins: 4
  replicas: 10
"""


@pytest.fixture(scope="session")
def tiny():
    """A config whose stages take seconds."""
    return TINY


class Workflow:
    """A copy of the workflow in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("hepml", "workflow", "config", "profiles"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(REPOSITORY / name, folder / name, ignore=ignored)
        shutil.copy(REPOSITORY / "Snakefile", folder)

    @property
    def environment(self):
        """The copy of the package comes before the installed one."""
        paths = [str(self.folder), os.environ.get("PYTHONPATH", "")]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }

    def run(self, *arguments, check=True):
        """Run snakemake on two cores; gives what it printed."""
        command = [sys.executable, "-m", "snakemake", "--cores", "2"]
        return self._printed([*command, *map(str, arguments)], check=check)

    def hepml(self, *arguments, check=True):
        """Run a command of the package; gives what it printed."""
        command = [Path(sys.executable).with_name("hepml"), *map(str, arguments)]
        return self._printed(command, check=check)

    def _printed(self, command, *, check):
        answer = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            text=True,
            capture_output=True,
            check=False,
        )
        printed = answer.stdout + answer.stderr
        if check:
            assert answer.returncode == 0, printed[-6000:]
        return printed

    def rerun(self, *arguments):
        """Numbers of jobs per rule that a dry run would do."""
        printed = self.run("-n", "--quiet", "rules", *arguments)
        jobs = {}
        for line in printed.splitlines():
            parts = line.split()
            if len(parts) == 2 and parts[1].isdigit() and parts[0] != "total":
                jobs[parts[0]] = int(parts[1])
        return jobs

    def config(self, name, **changes):
        """Write a config that differs from a shipped one; gives its path."""
        content = yaml.safe_load((self.folder / f"config/{name}.yaml").read_text())
        for key, value in changes.items():
            content[key] = content[key] | value if isinstance(value, dict) else value
        path = self.folder / f"{content['analysis']}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path


@pytest.fixture(scope="session")
def make_workflow():
    return Workflow


@pytest.fixture(scope="module")
def workflow(make_workflow, tmp_path_factory):
    return make_workflow(tmp_path_factory.mktemp("workflow"))
