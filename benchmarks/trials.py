"""Train networks on some jets, score others that none of them has seen, compare score by score."""

import datetime
import json
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import processor

from hepml.config import Analysis, Model, Own, TrainingJob
from hepml.data.stage import make_columns
from hepml.data.store import Columns, open_columns
from hepml.inputs import open_source
from hepml.jobs import data_job, simulated_chunks, simulation_job
from hepml.models.own import import_factory
from hepml.scores.predict import logits
from hepml.simulation.stage import simulate
from hepml.training.checkpoint import load
from hepml.training.stage import train

FOLDS = 10  # 8 train, one stops, one is left over
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Classes:
    """One number of each jet."""

    signal: np.ndarray
    background: np.ndarray

    def shares(self) -> "Classes":
        """Share of the other class that each jet is on the right side of; the mean is the AUC."""
        return Classes(
            np.searchsorted(np.sort(self.background), self.signal) / len(self.background),
            1 - np.searchsorted(np.sort(self.signal), self.background) / len(self.signal),
        )

    def losses(self) -> "Classes":
        """Binary cross-entropy [nats]."""
        return Classes(np.logaddexp(0, -self.signal), np.logaddexp(0, self.background))

    def less(self, other: "Classes") -> "Classes":
        """Difference jet by jet."""
        return Classes(self.signal - other.signal, self.background - other.background)

    def error(self) -> float:
        """Error of the sum of the means of both classes."""
        halves = (self.signal, self.background)
        return float(np.sqrt(sum(half.var() / len(half) for half in halves)))

    def auc(self) -> tuple[float, float]:
        """Area under the ROC curve and its error (DeLong et al. 1988)."""
        shares = self.shares()
        return float(shares.signal.mean()), shares.error()

    def auc_less(self, other: "Classes") -> tuple[float, float]:
        """Difference of the AUCs of two scores of the same jets and its error, paired."""
        difference = self.shares().less(other.shares())
        return float(difference.signal.mean()), difference.error()

    def mean(self) -> tuple[float, float]:
        """Mean at equal priors and its error."""
        return float(self.signal.mean() + self.background.mean()) / 2, self.error() / 2


def resized(chosen: Analysis, jets: int, at_once: int, seed: int) -> Analysis:
    """The analysis with so many jets in both classes together.

    Args:
        chosen: its samples are simulated, one of each class.
        jets: of both classes.
        at_once: jets in a file.
        seed: of the simulation.
    """
    samples = {
        name: sample.model_copy(update={"events": jets // 2})
        for name, sample in chosen.samples.items()
    }
    simulation = chosen.simulation.model_copy(update={"events_per_file": min(at_once, jets // 2)})
    return chosen.model_copy(
        update={"samples": samples, "simulation": simulation, "seed": seed, "folds": FOLDS}
    )


def make_jets(chosen: Analysis, folder: Path) -> list[Path]:
    """Ntuples of signal and background, unless they are there already, and their columns."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in chosen.samples:
        files = [folder / f"{name}_{n}.root" for n in range(simulated_chunks(chosen, name))]
        for number, file in enumerate(files):
            if not file.exists():
                simulate(simulation_job(chosen, name, number), file)
        make_columns(data_job(chosen, name), list(map(str, files)), folder / name)
    return [folder / name for name in chosen.samples]


def column(samples: list[Columns], name: str) -> Classes:
    """A variable of signal and background."""
    return Classes(*(np.asarray(sample[name], np.float64) for sample in samples))


@dataclass(frozen=True)
class Trial:
    """A network that was trained.

    Attributes:
        scores: logits of the jets it has not seen.
        seconds: of CPU that the training took.
        folder: of the network.
    """

    scores: Classes
    seconds: float
    folder: Path


def attempt(
    model: Model, seed: int, data: list[Path], unseen: list[Columns], folder: Path
) -> Trial:
    """Train a network, unless the folder has it from a run before, and score other jets.

    Args:
        model: its settings.
        seed: of the weights and the order of jets.
        data: folders of the columns to train on, signal and background.
        unseen: columns to score, signal and background.
        folder: for the network.
    """
    factory = import_factory(model.factory) if isinstance(model, Own) else None
    job = TrainingJob(
        model=model.model_copy(update={"title": ""}),  # as in the workflow
        folds=FOLDS,
        seed=seed,
        factory_sha256=factory.sha256 if factory else None,
    )
    cost = folder / "seconds.json"
    if not cost.exists() or load(folder, factory).job != job:
        started = time.process_time()
        train(job, data, 0, folder, CPU, lambda line: print(f"{folder.name}: {line}", flush=True))
        cost.write_text(json.dumps(time.process_time() - started))
    network = load(folder, factory).network
    each = [
        logits(network, open_source([sample], model), np.arange(sample.events)) for sample in unseen
    ]
    return Trial(Classes(*each), json.loads(cost.read_text()), folder)


def open_all(folders: list[Path]) -> list[Columns]:
    """Columns of each folder."""
    return list(map(open_columns, folders))


def heading(title: str, command: str) -> list[str]:
    """First lines of a result: what it is, the command, the machine, versions."""
    return [
        f"# {title}, {_today()}",
        "",
        f"`OMP_NUM_THREADS=1 python benchmarks/{command}` on {processor()}, {os.cpu_count()} cores "
        f"(shared; one thread used), Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}.",
        "",
    ]


def write(lines: list[str], stem: str, folder: Path | None) -> None:
    """Print a result, and write it if there is a folder for it."""
    print("\n".join(lines))
    if folder:
        name = f"{stem}_{platform.machine()}_{os.cpu_count()}cores_{_today()}.md"
        folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()
