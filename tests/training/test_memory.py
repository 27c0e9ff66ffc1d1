"""Training takes as much memory for a large sample as for a small one."""

import json
import subprocess
import sys

import numpy as np
import pytest

from hepml.data.store import ColumnWriter

FIELDS = ("px", "py", "pz")
PARTICLES = 60  # per jet: 720 bytes
PROGRAM = """
import json, sys
from pathlib import Path
import torch
from hepml.config import Cnn, Images, Training, TrainingJob
from hepml.training.stage import train

def anonymous():  # memory of the process itself, without mapped files [MB]
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024

torch.set_num_threads(1)
training = Training(epochs=2, patience=1, batch_size=1000)
model = Cnn(architecture="cnn", images=Images(pixels=4), width=4, stages=1, training=training)
memory = []
train(TrainingJob(model=model, folds=3, seed=1), [Path(sys.argv[1])], 0, Path(sys.argv[2]),
      torch.device("cpu"), lambda _: memory.append(anonymous()))
print(json.dumps(max(memory)))
"""


def write_jets(folder, jets):
    folder.mkdir()
    random = np.random.default_rng(1)
    with ColumnWriter(folder, (), FIELDS) as writer:
        for first in range(0, jets, 10_000):
            ids = np.arange(first, first + 10_000)
            columns = {"event_id": ids, "fold": ids % 3, "label": ids // 3 % 2}
            columns["weight"] = np.ones(len(ids))
            p = random.normal((50, 20, 30), 5, (PARTICLES * len(ids), 3)).astype(np.float32)
            writer.append(columns, np.full(len(ids), PARTICLES), p)
        writer.finish({})
    return folder


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_sample(tmp_path):
    taken = {}
    for jets in (30_000, 240_000):
        data = write_jets(tmp_path / str(jets), jets)
        command = [sys.executable, "-c", PROGRAM, data, tmp_path / f"model{jets}"]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        taken[jets] = json.loads(run.stdout)
    # 210,000 jets more are 151 MB of particles and 7 MB of labels, weights, folds and indices
    assert taken[240_000] - taken[30_000] < 40
