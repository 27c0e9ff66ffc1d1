"""How close networks come to the exact likelihood ratio of toy jets (hepml.data.two_prong).

    OMP_NUM_THREADS=1 python benchmarks/run_oracle_jets.py [--config config/oracle_jets.yaml]
        [--train 40000] [--test 100000] [--optimum 1000000] [--seeds 1] [--output DIR]

- optimum: AUC, divergences and cross-entropy of the exact ratios and of the eccentricity.
- networks: those of the config, trained on ``--train`` jets (an eighth more decide when to stop)
  and scored on ``--test`` jets that none of them has seen. Gap is the AUC of the exact ratio
  less that of the network on the same jets, with its paired error; excess is the same of the
  cross-entropy.

Jets go through ROOT ntuples and the data stage. CPU time is that of one thread.
"""

import argparse
import datetime
import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from machine import processor

from hepml.config import Analysis, Model, TrainingJob
from hepml.configfile import analysis
from hepml.data import two_prong
from hepml.data.stage import make_columns
from hepml.data.store import Columns, open_columns
from hepml.inputs import open_source
from hepml.jobs import data_job, simulation_job
from hepml.scores.predict import logits
from hepml.simulation.stage import simulate
from hepml.training.checkpoint import load
from hepml.training.stage import train

FOLDS = 10  # 8 train, one stops, one is left over
AT_ONCE = 50_000
EXACT = {"particle_transformer": "exact_llr", "cnn": "exact_image_llr", "mlp": "exact_llr"}
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

    def mean(self) -> tuple[float, float]:
        """Mean at equal priors and its error."""
        return float(self.signal.mean() + self.background.mean()) / 2, self.error() / 2


def settings(config: Path, jets: int, seed: int) -> Analysis:
    """The analysis with so many jets in both classes together."""
    content = yaml.safe_load(config.read_text(encoding="utf-8"))
    for sample in content["samples"].values():
        sample["events"] = jets // 2
    content["simulation"]["events_per_file"] = min(AT_ONCE, jets // 2)
    return analysis(content | {"seed": seed, "folds": FOLDS}, str(config))


def make_jets(chosen: Analysis, folder: Path) -> list[Path]:
    """Ntuples and columns of signal and background."""
    for name, sample in chosen.samples.items():
        files = []
        for chunk in range(-(-(sample.events or 0) // chosen.simulation.events_per_file)):
            files.append(str(folder / f"{name}_{chunk}.root"))
            simulate(simulation_job(chosen, name, chunk), Path(files[-1]))
        make_columns(data_job(chosen, name), files, folder / name)
    return [folder / name for name in chosen.samples]


def column(samples: list[Columns], name: str) -> Classes:
    """A variable of signal and background."""
    return Classes(*(np.asarray(sample[name], np.float64) for sample in samples))


def score(folder: Path, model: Model, samples: list[Columns]) -> Classes:
    """Logits of signal and background."""
    network = load(folder).network
    each = [
        logits(network, open_source([sample], model), np.arange(sample.events))
        for sample in samples
    ]
    return Classes(*each)


def networks(options: argparse.Namespace) -> Iterator[str]:
    """Train and score; lines of a table."""
    yield (
        "| network | seed | AUC | exact AUC | gap | excess [nats] | RMSE of the LLR | over the cut "
        "| parameters | CPU s |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("train", "test"):
            (folder / part).mkdir()
        chosen = settings(options.config, options.train * FOLDS // (FOLDS - 2), seed=1)
        data = make_jets(chosen, folder / "train")
        unseen = make_jets(settings(options.config, options.test, seed=2), folder / "test")
        samples = list(map(open_columns, unseen))
        for key, model in chosen.models.items():
            for seed in range(1, options.seeds + 1):
                output = folder / f"{key}_{seed}"
                started = time.process_time()
                train(TrainingJob(model=model, folds=FOLDS, seed=seed), data, 0, output, CPU, print)
                seconds = time.process_time() - started
                parameters = json.loads((output / "model.json").read_text())["parameters"]
                numbers = distance(score(output, model, samples), samples, model)
                yield f"| {key} | {seed} | {numbers} | {parameters} | {seconds:.0f} |"


def distance(scored: Classes, samples: list[Columns], model: Model) -> str:
    """Cells of the table on how far scores are from the best there is."""
    exact = column(samples, EXACT[model.architecture])
    cut = column(samples, "eccentricity").shares()
    gap = exact.shares().less(scored.shares())
    gain = scored.shares().less(cut)
    excess = scored.losses().less(exact.losses()).mean()
    off = scored.less(exact)
    rmse = np.sqrt(np.mean(np.concatenate([off.signal, off.background]) ** 2))
    return (
        f"{scored.auc()[0]:.4f} | {exact.auc()[0]:.4f} | "
        f"({1e3 * gap.signal.mean():.2f} ± {1e3 * gap.error():.2f})·10⁻³ | "
        f"({1e3 * excess[0]:.1f} ± {1e3 * excess[1]:.1f})·10⁻³ | {rmse:.3f} | "
        f"{gain.signal.mean():.4f} ± {gain.error():.4f}"
    )


def draw_exact(jets: int) -> dict[str, Classes]:
    """Exact ratios and the eccentricity of newly drawn jets."""
    random = np.random.default_rng(3)
    found: dict[str, list[list[np.ndarray]]] = {name: [[], []] for name in ("set", "image", "cut")}
    for _ in range(max(1, jets // AT_ONCE)):
        for number, signal in enumerate((True, False)):
            drawn = two_prong.draw(signal, min(jets, AT_ONCE), random)
            images = two_prong.count_in_pixels(drawn)
            found["set"][number].append(two_prong.exact_llr(drawn))
            found["image"][number].append(two_prong.exact_image_llr(images))
            found["cut"][number].append(eccentricity(drawn))
    return {name: Classes(*map(np.concatenate, parts)) for name, parts in found.items()}


def eccentricity(jets: two_prong.ToyJets) -> np.ndarray:
    """Difference over sum of the principal second moments."""
    eta, phi = jets.position.T.astype(np.float64)
    jet = np.repeat(np.arange(len(jets.counts)), jets.counts)
    total, difference, mixed = (
        np.bincount(jet, x, len(jets.counts))
        for x in (eta**2 + phi**2, eta**2 - phi**2, 2 * eta * phi)
    )
    return np.hypot(difference, mixed) / total


def optimum(jets: int) -> Iterator[str]:
    """What is possible; lines of a table."""
    yield "| score | AUC | KL(S‖B) [nats] | KL(B‖S) [nats] | cross-entropy [nats] |"
    yield "| --- | --- | --- | --- | --- |"
    titles = {"set": "exact, set", "image": "exact, image", "cut": "eccentricity"}
    for name, scores in draw_exact(jets).items():
        cells = ["{:.5f} ± {:.5f}".format(*scores.auc())]
        for llr in (scores.signal, -scores.background) if name != "cut" else ():
            cells.append(f"{llr.mean():.4f} ± {llr.std() / np.sqrt(len(llr)):.4f}")
        cells.append("{:.5f} ± {:.5f}".format(*scores.losses().mean()) if name != "cut" else "–")
        cells[1:1] = ["–", "–"] if name == "cut" else []
        yield f"| {titles[name]} | {' | '.join(cells)} |"


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("config/oracle_jets.yaml"))
    parser.add_argument("--train", type=int, default=40_000, help="jets to train on")
    parser.add_argument("--test", type=int, default=100_000)
    parser.add_argument("--optimum", type=int, default=1_000_000, help="jets per class")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each network")
    parser.add_argument("--output", type=Path, help="folder for the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    arguments = " ".join(
        f"--{name} {getattr(options, name)}"
        for name in ("config", "train", "test", "optimum", "seeds")
    )
    lines = [
        f"# Networks against the exact ratio of toy jets, {today}",
        "",
        f"`OMP_NUM_THREADS=1 python benchmarks/run_oracle_jets.py {arguments}` on {processor()}, "
        f"{os.cpu_count()} cores (shared; one thread used), Python {platform.python_version()}, "
        f"torch {torch.__version__}, numpy {np.__version__}.",
        "",
        f"What is possible, {options.optimum} jets per class:",
        "",
        *optimum(options.optimum),
        "",
        f"Networks trained on {options.train} jets, scored on {options.test} others. Gap and "
        "excess are to the exact ratio of what the network reads: the set for the transformer, the "
        "image for the CNN; of the set too for the MLP, which reads three moments of it.",
        "",
        *networks(options),
    ]
    print("\n".join(lines))
    if options.output:
        name = f"oracle_jets_{platform.machine()}_{os.cpu_count()}cores_{today}.md"
        (options.output / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
