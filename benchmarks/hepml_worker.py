"""hepml at work: its data stage, its batches, its Particle Transformer, its training loop.

Run by training.py; the jobs are those of weaver_worker.py.

    python hepml_worker.py DEVICE FOLDER BATCH
"""

import json
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.utils.flop_counter import FlopCounterMode
from worker import choose_clock, serve

from hepml import kernels
from hepml.config import DataJob, ParticleTransformer, Training
from hepml.configfile import parse
from hepml.data.stage import make_columns
from hepml.data.store import open_columns
from hepml.inputs import on_device
from hepml.inputs.kept import KeptParticles
from hepml.inputs.source import Source, read_labels
from hepml.models import build
from hepml.models.particle_transformer import from_weaver
from hepml.training.batches import Batches
from hepml.training.loop import fit

MODEL = ParticleTransformer(architecture="particle_transformer", features="full", size="published")


class Hepml:
    """Jobs of the comparison.

    Args:
        device: cpu or cuda.
        folder: of the files.
        batch: jets per batch.
    """

    def __init__(self, device: str, folder: Path, batch: int) -> None:
        self.device = torch.device(device)
        self.folder = folder
        self.batch = batch
        self.columns = folder / "columns"
        self.opened: Batches | None = None
        self.processes: ProcessPoolExecutor | None = None
        self.batches: list[tuple[tuple[Tensor, ...], Tensor]] = []
        self.network: nn.Module | None = None

    def prepare(self, batches: int) -> dict[str, Any]:
        """Take over weaver's weights, and load the first batches in their order."""
        self._read_files()
        self.network = build(MODEL)
        self.network.load_state_dict(self._weights())
        self.network.to(self.device)
        self.opened = self._open([self.columns])
        few = self._some(slice(0, batches * self.batch)).ordered(self.batch)
        self.batches = [(inputs, label) for inputs, label, _ in few]
        return {"counts": torch.cat([inputs[2] for inputs, _ in self.batches]).tolist()}

    def tidy(self) -> dict[str, Any]:
        """Remove what an earlier pass left."""
        self.opened = None
        shutil.rmtree(self.columns, ignore_errors=True)
        return {}

    def first_pass(self) -> dict[str, Any]:
        """From files to batches, once; the columns stay on disk."""
        self._read_files()
        self.opened = self._open([self.columns])
        return self.next_pass()

    def first_pass_on_all_cores(self) -> dict[str, Any]:
        """The same with files shared out to processes, as samples are by the workflow."""
        files = self._files()
        cores = min(os.cpu_count() or 1, len(files))
        if self.processes is None:
            context = multiprocessing.get_context("spawn")
            self.processes = ProcessPoolExecutor(cores, mp_context=context)
        self.columns.mkdir()
        jobs = [
            self.processes.submit(read_files, self.folder, files[n::cores], self.columns / str(n))
            for n in range(cores)
        ]
        with threads(cores):
            self.opened = self._open([job.result() for job in jobs])
            return self.next_pass()

    def next_pass(self) -> dict[str, Any]:
        """Batches once more, in another order."""
        order = torch.Generator().manual_seed(1)
        return {"jets": self._count(self._some(slice(None)).shuffled(self.batch, order))}

    def train(self, number: int, amp: bool) -> dict[str, Any]:
        """One step without the optimiser: loss and gradients of one batch."""
        network = self._network().train()
        network.zero_grad()
        inputs, label = self.batches[number]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            logits = network(*inputs)
        binary_cross_entropy_with_logits(logits.float(), label).backward()
        return {"jets": len(label)}

    def infer(self, number: int, amp: bool) -> dict[str, Any]:
        """Logits of one batch."""
        inputs, label = self.batches[number]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            self._infer(inputs)
        return {"jets": len(label)}

    def logits(self, number: int) -> dict[str, Any]:
        """Logits and loss of one batch."""
        inputs, label = self.batches[number]
        output = self._infer(inputs)
        loss = binary_cross_entropy_with_logits(output, label)
        return {"logits": output.tolist(), "loss": loss.item()}

    def epoch(self, training: int, validation: int) -> dict[str, Any]:
        """Two epochs of training and validation by hepml's own loop; counts the jets of both."""
        two = {"epochs": 2, "patience": 1, "precision": "bf16"}  # on a GPU
        settings = Training(**two, batch_size=self.batch, learning_rate=1e-4)
        parts = slice(0, training), slice(training, training + validation)
        fit(self._network(), *map(self._some, parts), settings, lambda _: None)
        return {"jets": 2 * training}

    def operations(self, number: int) -> dict[str, Any]:
        """Floating-point operations of the matrix products of inference per jet."""
        inputs, label = self.batches[number]
        with kernels.without_kernels(), FlopCounterMode(display=False) as counter:
            self._network().eval()(*inputs)
        return {"operations": counter.get_total_flops() / len(label)}

    def multiply(self) -> dict[str, Any]:
        """A product of large matrices: what the machine can do."""
        cuda = self.device.type == "cuda"
        side, dtype = (8192, torch.bfloat16) if cuda else (1024, torch.float32)
        a = torch.ones(side, side, device=self.device, dtype=dtype)
        for _ in range(4):
            a @ a
        return {"operations": 4 * 2 * side**3}

    def _network(self) -> nn.Module:
        if self.network is None:
            raise RuntimeError("prepare comes first")
        return self.network

    @torch.no_grad()
    def _infer(self, inputs: tuple[Tensor, ...]) -> Tensor:
        return self._network().eval()(*inputs)

    def _read_files(self) -> None:
        read_files(self.folder, self._files(), self.columns)

    def _files(self) -> list[str]:
        return sorted(map(str, self.folder.glob("jets_*.root")))

    def _open(self, folders: Sequence[Path]) -> Batches:
        samples = [open_columns(folder) for folder in folders]
        room = partial(tempfile.TemporaryFile, dir=self.folder)  # as hepml train does
        source: Source = on_device(samples, MODEL, self.device, room)
        label = torch.from_numpy(read_labels(samples).label.astype(np.float32))
        every = Batches(source, np.arange(len(label)), label, torch.ones(len(label)))
        if isinstance(source, KeptParticles):
            source.make(every.events)  # as hepml train does
        return every.to(self.device)

    def _some(self, jets: slice) -> Batches:
        if self.opened is None:
            raise RuntimeError("prepare comes first")
        o = self.opened
        return Batches(o.source, o.events[jets], o.label[jets], o.weight[jets])

    def _weights(self) -> dict[str, Tensor]:
        """Make one logit of weaver's two: that of the second class against the first."""
        state = from_weaver(torch.load(self.folder / "weaver.pt", weights_only=True))
        for name in ("head.weight", "head.bias"):
            state[name] = state[name][1:] - state[name][:1]
        return state

    @staticmethod
    def _count(batches: Iterator[Any]) -> int:
        return sum(len(label) for _, label, _ in batches)


def read_files(folder: Path, files: Sequence[str], output: Path) -> Path:
    """Columns of some files, as ``hepml data`` makes them."""
    make_columns(parse(DataJob, (folder / "hepml.json").read_text(), "benchmark"), files, output)
    return output


@contextmanager
def threads(number: int) -> Iterator[None]:
    """As many threads for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write_settings(folder: Path) -> None:
    """Settings of the data stage for the files in a folder."""
    data = {"schema": "jetclass", "particles": True, "variables": {"pt": "jet_pt"}}
    sample = {"label": "label_Tbqq", "files": ["x"], "expected_events": 1}
    job = {"name": "jets", "sample": sample, "data": data, "luminosity": 1, "folds": 5}
    (folder / "hepml.json").write_text(json.dumps(job))


def main() -> None:
    """Serve until the requests end."""
    device, folder, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    kernels.keep_freed_memory()  # as hepml train and hepml score do
    h = Hepml(device, folder, batch)
    jobs = (h.prepare, h.tidy, h.first_pass, h.first_pass_on_all_cores, h.next_pass, h.train,
            h.infer, h.logits, h.epoch, h.operations, h.multiply)  # fmt: skip
    serve({job.__name__: job for job in jobs}, choose_clock(device))


if __name__ == "__main__":
    main()
