"""How well networks tell tops from QCD jets, and whether as well as weaver-core's.

    OMP_NUM_THREADS=1 python benchmarks/run_accuracy.py --work FOLDER [--train 40000]
        [--test 20000] [--seeds 1] [--output benchmarks/results]

Jets are those of config/config.yaml, simulated into FOLDER (about a quarter of an hour of one core;
what is there already is used again, networks too). Networks and their training stand in
benchmarks/accuracy.yaml; an eighth of the jets more decides when to stop. The jets that are scored
are other ones, which neither decided anything nor were looked at when the settings were chosen.
weaver-core must be importable: ``pip install --no-deps weaver-core==0.5.3``.

Errors of AUC are those of DeLong et al. (1988); differences are paired, on the same jets.
"""

import argparse
import importlib.metadata
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from trials import FOLDS, Classes, Trial, attempt, heading, make_jets, open_all, resized, write

from hepml.config import Analysis
from hepml.configfile import analysis
from hepml.inference.metrics import rejection_at
from hepml.plaintext import read_yaml

CONFIG, NETWORKS = Path("config/config.yaml"), Path("benchmarks/accuracy.yaml")
AT_ONCE = 5000
GOALS = {"cnn": 0.983, "transformer": 0.985}  # AUC with 20 000 jets of each class


def settings() -> Analysis:
    """The reference analysis with the networks that are compared."""
    return analysis(read_yaml(CONFIG) | {"models": read_yaml(NETWORKS)}, str(NETWORKS))


def trials(options: argparse.Namespace) -> dict[str, list[Trial]]:
    """Networks of each name, one per seed."""
    chosen = settings()
    jets = options.train * FOLDS // (FOLDS - 2)
    here, there = (options.work / f"{part}_{getattr(options, part)}" for part in ("train", "test"))
    data = make_jets(resized(chosen, jets, AT_ONCE, seed=1), here)
    unseen = open_all(make_jets(resized(chosen, options.test, AT_ONCE, seed=5), there))
    found: dict[str, list[Trial]] = {name: [] for name in chosen.models}
    for seed in range(1, options.seeds + 1):
        for name, model in chosen.models.items():
            found[name].append(attempt(model, seed, data, unseen, here / f"{name}_{seed}"))
    return found


def rows(found: dict[str, list[Trial]]) -> Iterator[str]:
    """Lines of the table of networks."""
    yield "| network | seed | AUC | goal | 1/ε_B at ε_S = 0.5 | parameters | best epoch | CPU s |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, each in found.items():
        for seed, trial in enumerate(each, start=1):
            record = json.loads((trial.folder / "model.json").read_text())
            value, error = trial.scores.auc()
            epoch = f"{record['best_epoch']} of {len(record['history'])}"
            yield (
                f"| {name} | {seed} | {value:.4f} ± {error:.4f} | {GOALS.get(name, '–')} | "
                f"{rejection(trial.scores)} | {record['parameters']} | {epoch} | "
                f"{trial.seconds:.0f} |"
            )


def rejection(scores: Classes) -> str:
    """Background rejection at half of the signal."""
    score = np.concatenate([scores.signal, scores.background])
    signal = np.arange(len(score)) < len(scores.signal)
    found = rejection_at(score, signal, np.ones(len(score)), signal_efficiency=0.5)
    return f"{found.value:.0f} ± {found.error:.0f}" if found else "–"


def differences(found: dict[str, list[Trial]]) -> Iterator[str]:
    """Lines of the table of AUCs less that of weaver's network."""
    yield "| network | seed | AUC less that of weaver |"
    yield "| --- | --- | --- |"
    for name in GOALS:
        for seed, (ours, theirs) in enumerate(zip(found[name], found["weaver"], strict=True), 1):
            value, error = ours.scores.auc_less(theirs.scores)
            yield f"| {name} | {seed} | ({1e3 * value:+.2f} ± {1e3 * error:.2f})·10⁻³ |"


def conditions(found: dict[str, list[Trial]]) -> str:
    """What all networks have in common."""
    any_of_them = found["weaver"][0]
    training = json.loads((any_of_them.folder / "model.json").read_text())["training_events"]
    scores = any_of_them.scores
    return (
        f"Trained on {training} jets, of either class about the same number, and scored on "
        f"{len(scores.signal)} tops and {len(scores.background)} QCD jets. Settings: "
        "benchmarks/accuracy.yaml. The transformers have the same size and read the same "
        "particles; hepml's loop trained all, with the same batches, optimiser and schedule. "
        f"Network of weaver-core {importlib.metadata.version('weaver-core')}. CPU time is that of "
        "one thread."
    )


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for jets and networks")
    parser.add_argument("--train", type=int, default=40_000, help="jets to train on, about")
    parser.add_argument("--test", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each network")
    parser.add_argument("--output", type=Path, help="folder for the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = trials(options)
    command = (
        f"run_accuracy.py --work FOLDER --train {options.train} --test {options.test} "
        f"--seeds {options.seeds}"
    )
    title = "Tops against QCD jets: how well networks tell them apart"
    lines = [*heading(title, command), conditions(found), "", *rows(found), "", *differences(found)]
    write(lines, "accuracy", options.output)


if __name__ == "__main__":
    main()
