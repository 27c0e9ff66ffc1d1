"""A small analysis, stage by stage, each a process that can be disturbed."""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import uproot

from hepml import jobs
from hepml.configfile import load
from hepml.records import digest


@dataclass(frozen=True)
class Step:
    """One command of the workflow and what it makes."""

    command: tuple[str, ...]
    output: Path

    def start(self, **options):
        """The process of the command."""
        environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
        code = options.pop("prelude", "") + "\nfrom hepml.cli import main; main()"
        return subprocess.Popen(
            [*options.pop("under", ()), sys.executable, "-c", code, *self.command],
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
            **options,
        )

    def run(self, **options):
        """Exit code and messages of the finished command."""
        process = self.start(**options)
        _, said = process.communicate(timeout=120)
        return process.returncode, said

    def digest(self):
        """Of what it made, without the times and names that ROOT files and networks also hold."""
        if self.output.suffix == ".root":
            with uproot.open(self.output) as file:
                columns = file["tree"].arrays(library="np")
            content = b"".join(columns[name].tobytes() for name in sorted(columns))
            return hashlib.sha256(content).hexdigest()
        weights = self.output / "model.safetensors"
        return digest(weights if weights.exists() else self.output)


@pytest.fixture(name="step_type")
def _step_type():
    return Step


@pytest.fixture(name="steps_of", scope="session")
def _steps_of():
    return _steps


def _steps(analysis):
    """The commands of one sample and one fold, in their order."""
    root = Path("results/tiny")
    simulated = {n: root / f"ntuples/{n}_0.root" for n in "sb"}
    columns = {n: root / f"data/{n}" for n in "sb"}
    networks = [root / f"training/mlp/fold{k}" for k in range(3)]
    scores = {n: root / f"scores/mlp/{n}.parquet" for n in "sb"}
    training = jobs.training_job(analysis, "mlp").model_dump_json()
    inference = jobs.inference_job(analysis, "mlp").model_dump_json()
    workspace, figure = root / "inference/mlp.workspace.json", root / "plots/roc.png"
    result = root / "inference/mlp.json"
    steps = {}
    for n in "sb":
        simulation = jobs.simulation_job(analysis, n, 0).model_dump_json()
        data = jobs.data_settings(jobs.data_job(analysis, n))
        steps |= {
            f"simulate {n}": (("simulate", simulated[n], "--settings", simulation), simulated[n]),
            f"data {n}": (("data", simulated[n], "--settings", data, "--output", columns[n]),
                          columns[n]),
        }  # fmt: skip
    settings = jobs.data_settings(jobs.data_job(analysis, "s"))
    part, joined = root / "data/s.parts/0", root / "data/s_joined"
    steps["data part"] = (("data", simulated["s"], "--part", "--settings",
                           jobs.part_settings(jobs.data_job(analysis, "s")), "--output", part),
                          part)  # fmt: skip
    steps["merge-data"] = (("merge-data", part, "--settings", settings, "--output", joined),
                           joined)  # fmt: skip
    for k, network in enumerate(networks):
        command = ("train", *columns.values(), "--settings", training, "--fold", k,
                   "--output", network, "--device", "cpu")  # fmt: skip
        steps[f"train {k}"] = (command, network)
    for n in "sb":
        command = ("score", *networks, "--data", columns[n], "--device", "cpu",
                   "--output", scores[n])  # fmt: skip
        steps[f"score {n}"] = (command, scores[n])
    scored = [f"--scores={path}" for path in scores.values()]
    steps["infer"] = (("infer", *columns.values(), *scored, "--settings", inference,
                       "--output", result, "--workspace", workspace), result)  # fmt: skip
    steps["plot"] = (("plot", "roc", result, "--caption", jobs.caption(analysis),
                      "--output", figure), figure)  # fmt: skip
    return {name: Step(tuple(map(str, command)), output) for name, (command, output) in
            steps.items()}  # fmt: skip


@pytest.fixture(name="finished", scope="session")
def _finished(tmp_path_factory, tiny):
    """Where every stage has run undisturbed: folder, steps, digests of results, seconds."""
    folder = tmp_path_factory.mktemp("undisturbed")
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("config.yaml").write_text(tiny, encoding="utf-8")
        steps = _steps(load(Path("config.yaml")))
        seconds = {}
        for name, step in steps.items():
            started = time.monotonic()
            code, said = step.run()
            assert code == 0, (name, said)
            seconds[name] = time.monotonic() - started
        return folder, steps, {name: step.digest() for name, step in steps.items()}, seconds
    finally:
        os.chdir(before)
