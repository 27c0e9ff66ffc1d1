"""weaver-core 0.5.3 at work: its loader, its Particle Transformer, its training loop.

Run by training.py with the interpreter of weaver's own environment; knows nothing of hepml.

    python weaver_worker.py DEVICE FOLDER BATCH

FOLDER holds ``jets_*.root`` and ``weaver.yaml``.
"""

import argparse
import itertools
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from weaver.nn.model.ParticleTransformer import ParticleTransformer
from weaver.utils.dataset import SimpleIterDataset
from weaver.utils.nn.tools import evaluate_classification, train_classification
from worker import choose_clock, serve

STEADY = {
    "stream": {"fetch_by_files": True, "fetch_step": 1},
    "default": {"fetch_step": 0.01},
    "memory": {"fetch_step": 1, "in_memory": True},
}  # how weaver can fetch: file by file, a hundredth of each file at a time, all and keep


class Weaver:
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
        self.files = {"jets": sorted(str(path) for path in folder.glob("jets_*.root"))}
        self.loaders: dict[str, DataLoader] = {}
        self.batches: list[tuple[list[Tensor], Tensor]] = []
        self.networks: dict[bool, nn.Module] = {}

    def prepare(self, batches: int, inputs: int) -> dict[str, Any]:
        """Make the network, store its weights, and load the first batches in their order."""
        torch.manual_seed(0)
        network = self._network(inputs, compiled=False)
        torch.save(network.state_dict(), self.folder / "weaver.pt")
        self.networks[False] = network.to(self.device)
        if self.device.type == "cuda":
            compiled = self._network(inputs, compiled=True)
            compiled.load_state_dict(network.state_dict())
            self.networks[True] = torch.compile(compiled.to(self.device))
        loader = self._loader(for_training=False, **STEADY["stream"])
        self.batches = [self._to_device(x, y) for x, y, _ in itertools.islice(loader, batches)]
        for inputs_, _ in self.batches[:1] * 6:  # trims from its sixth call on
            self._infer(inputs_, compiled=False)
        return {}

    def first_pass(self, mode: str, workers: int = 0) -> dict[str, Any]:
        """From files to batches, once, settings read included."""
        loader = self._loader(name=f"train {mode}", workers=workers, **STEADY[mode])
        return {"jets": self._count(loader)}

    def next_pass(self, mode: str, jets: int) -> dict[str, Any]:
        """Batches once more, from the same loader."""
        if mode not in self.loaders:
            self.loaders[mode] = self._loader(name=f"train {mode}", **STEADY[mode])
            self._count(itertools.islice(self.loaders[mode], 1))
        steps = -(-jets // self.batch)
        return {"jets": self._count(itertools.islice(self.loaders[mode], steps))}

    def train(self, number: int, amp: bool, compiled: bool) -> dict[str, Any]:
        """One step without the optimiser: loss and gradients of one batch."""
        network = self.networks[compiled].train()
        network.zero_grad()
        inputs, label = self.batches[number]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            loss = cross_entropy(network(*inputs), label)
        loss.backward()
        return {"jets": len(label)}

    def infer(self, number: int, amp: bool, compiled: bool) -> dict[str, Any]:
        """Logits of one batch."""
        inputs, label = self.batches[number]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=amp):
            self._infer(inputs, compiled)
        return {"jets": len(label)}

    def logits(self, number: int) -> dict[str, Any]:
        """Logit of the second class against the first, and loss of one batch."""
        inputs, label = self.batches[number]
        output = self._infer(inputs, compiled=False)
        logit = (output[:, 1] - output[:, 0]).tolist()
        return {"logits": logit, "loss": cross_entropy(output, label).item()}

    def epoch(self, training: int, validation: int, of: int) -> dict[str, Any]:
        """Train on some jets of each file and evaluate on others, by weaver's own loops."""
        network = self.networks[False]
        optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)
        share, rest = training / of, (training + validation) / of
        options = argparse.Namespace(use_amp=self.device.type == "cuda", amp_dtype="bf16")
        common = {"dev": self.device, "epoch": 1, "extra_args": {"args": options}}
        loss = nn.CrossEntropyLoss()
        train = self._loader(name="train", load_range_and_fraction=((0, share), 1, 1))
        train_classification(
            network, loss, optimiser, None, train, steps_per_epoch=training // self.batch, **common
        )
        check = self._loader(name="val", load_range_and_fraction=((share, rest), 1, 1))
        evaluate_classification(network, check, loss_func=loss, eval_metrics=[], **common)
        return {"jets": training}

    def _network(self, inputs: int, compiled: bool) -> nn.Module:
        """The published architecture, two classes."""
        return ParticleTransformer(
            inputs, 2, pair_input_dim=4, use_pre_activation_pair=False, trim=True,
            compile_model=compiled,
        )  # fmt: skip

    def _loader(self, name: str = "", workers: int = 0, **options: Any) -> DataLoader:  # noqa: ANN401
        """As ``weaver --num-workers`` makes it."""
        settings = str(self.folder / "weaver.yaml")
        if "load_range_and_fraction" in options:
            options["fetch_step"] = 1
        dataset = SimpleIterDataset(self.files, settings, self.batch, name=name, **options)
        pin = self.device.type == "cuda"
        return DataLoader(dataset, batch_size=self.batch, pin_memory=pin, num_workers=workers)

    def _to_device(
        self, inputs: dict[str, Tensor], label: dict[str, Tensor]
    ) -> tuple[list[Tensor], Tensor]:
        return [x.to(self.device) for x in inputs.values()], label["_label_"].to(self.device)

    @torch.no_grad()
    def _infer(self, inputs: list[Tensor], compiled: bool) -> Tensor:
        return self.networks[compiled].eval()(*inputs)

    @staticmethod
    def _count(batches: Iterator[Any] | DataLoader) -> int:
        return sum(len(y["_label_"]) for _, y, _ in batches)


def main() -> None:
    """Serve until the requests end."""
    device, folder, batch = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    w = Weaver(device, folder, batch)
    jobs = (w.prepare, w.first_pass, w.next_pass, w.train, w.infer, w.logits, w.epoch)
    serve({job.__name__: job for job in jobs}, choose_clock(device))


if __name__ == "__main__":
    main()
