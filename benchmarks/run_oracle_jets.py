"""How close networks come to the exact likelihood ratio of toy jets (hepml.data.two_prong).

    OMP_NUM_THREADS=1 python benchmarks/run_oracle_jets.py --work FOLDER
        [--config config/oracle_jets.yaml] [--train 40000] [--test 100000]
        [--optimum 1000000] [--seeds 1] [--output benchmarks/results]

- optimum: AUC, divergences and cross-entropy of the exact ratios and of the eccentricity.
- networks: those of the config, trained on ``--train`` jets (an eighth more decide when to stop)
  and scored on ``--test`` jets that none of them has seen. Gap is the AUC of the exact ratio
  less that of the network on the same jets, with its paired error; excess is the same of the
  cross-entropy.

Jets go through ROOT ntuples and the data stage. Jets and networks that FOLDER has from a run before
are used again. CPU time is that of one thread.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from trials import (
    FOLDS,
    Classes,
    Trial,
    attempt,
    column,
    heading,
    make_jets,
    open_all,
    resized,
    write,
)

from hepml.config import Model
from hepml.configfile import load
from hepml.data import two_prong
from hepml.data.store import Columns

AT_ONCE = 50_000
EXACT = {"particle_transformer": "exact_llr", "cnn": "exact_image_llr", "mlp": "exact_llr"}


def networks(options: argparse.Namespace) -> Iterator[str]:
    """Train and score; lines of a table."""
    yield (
        "| network | seed | AUC | exact AUC | gap | excess [nats] | RMSE of the LLR | over the cut "
        "| parameters | CPU s |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    chosen = load(options.config)
    # seeds 1 and 2 of the simulation: none of the jets is in both
    jets = options.train * FOLDS // (FOLDS - 2)
    here, there = (options.work / f"{part}_{getattr(options, part)}" for part in ("train", "test"))
    data = make_jets(resized(chosen, jets, AT_ONCE, seed=1), here)
    unseen = open_all(make_jets(resized(chosen, options.test, AT_ONCE, seed=2), there))
    for key, model in chosen.models.items():
        for seed in range(1, options.seeds + 1):
            trial = attempt(model, seed, data, unseen, here / f"{key}_{seed}")
            yield f"| {key} | {seed} | {distance(trial, unseen, model)} |"


def distance(trial: Trial, samples: list[Columns], model: Model) -> str:
    """Cells of the table on how far scores are from the best there is, and what they cost."""
    scored = trial.scores
    exact = column(samples, EXACT[model.architecture])
    gap, error = exact.auc_less(scored)
    gain, gain_error = scored.auc_less(column(samples, "eccentricity"))
    excess = scored.losses().less(exact.losses()).mean()
    off = scored.less(exact)
    rmse = np.sqrt(np.mean(np.concatenate([off.signal, off.background]) ** 2))
    parameters = json.loads((trial.folder / "model.json").read_text())["parameters"]
    return (
        f"{scored.auc()[0]:.4f} | {exact.auc()[0]:.4f} | "
        f"({1e3 * gap:.2f} ± {1e3 * error:.2f})·10⁻³ | "
        f"({1e3 * excess[0]:.1f} ± {1e3 * excess[1]:.1f})·10⁻³ | {rmse:.3f} | "
        f"{gain:.4f} ± {gain_error:.4f} | {parameters} | {trial.seconds:.0f}"
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
    parser.add_argument("--work", type=Path, required=True, help="folder for jets and networks")
    parser.add_argument("--config", type=Path, default=Path("config/oracle_jets.yaml"))
    parser.add_argument("--train", type=int, default=40_000, help="jets to train on")
    parser.add_argument("--test", type=int, default=100_000)
    parser.add_argument("--optimum", type=int, default=1_000_000, help="jets per class")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each network")
    parser.add_argument("--output", type=Path, help="folder for the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    arguments = " ".join(
        f"--{name} {getattr(options, name)}"
        for name in ("config", "train", "test", "optimum", "seeds")
    )
    lines = [
        *heading(
            "Networks against the exact ratio of toy jets",
            f"run_oracle_jets.py --work FOLDER {arguments}",
        ),
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
    write(lines, "oracle_jets", options.output)


if __name__ == "__main__":
    main()
