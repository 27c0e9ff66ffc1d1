"""How fast the Particle Transformer is, against weaver-core's with the same weights.

    python benchmarks/run_transformer.py [--jets 128] [--rounds 9] [--output benchmarks/results]

Needs weaver-core (pip install --no-deps weaver-core==0.5.3). The published architecture on jets of
about 44 particles, at most 128. In one process, in turn, each round measures the CPU time of a
training step without the optimiser (loss and gradients) and of inference. weaver trims its input to
the longest jet (inference) or to a random quantile of the lengths, dropping particles (training).
"""

import argparse
import datetime
import importlib.metadata
import logging
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import processor
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode
from weaver.nn.model.ParticleTransformer import ParticleTransformer as Weaver

from hepml.models.particle_transformer import ParticleTransformer, from_weaver

INPUTS, OUTPUTS, MAXIMUM = 17, 10, 128


def make_jets(number: int) -> tuple[Tensor, Tensor, Tensor]:
    """Features, momenta and counts of jets of pions around an axis."""
    random = np.random.default_rng(1)
    counts = np.clip(random.normal(44, 17, number), 1, MAXIMUM).astype(np.int64)
    particles = int(counts.sum())
    pt = random.exponential(10, particles) + 0.3
    eta = np.repeat(random.normal(0, 0.8, number), counts) + random.normal(0, 0.25, particles)
    phi = np.repeat(random.uniform(-3, 3, number), counts) + random.normal(0, 0.25, particles)
    p = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    momenta = np.stack([*p, np.sqrt(sum(x**2 for x in p) + 0.1396**2)], axis=1)
    features = random.normal(size=(particles, INPUTS))
    tables = (torch.from_numpy(x.astype(np.float32)) for x in (features, momenta))
    return *tables, torch.from_numpy(counts)


def pad(features: Tensor, momenta: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments of weaver's network: features, momenta and what is real."""
    real = torch.arange(MAXIMUM) < counts[:, None]
    tables = []
    for packed in (features, momenta):
        table = torch.zeros(len(counts), MAXIMUM, packed.shape[1])
        table[real] = packed
        tables.append(table.mT.contiguous())
    return tables[0], tables[1], real[:, None]


def make_networks() -> tuple[nn.Module, nn.Module]:
    """The network of weaver as published, and ours with the same weights."""
    torch.manual_seed(0)
    theirs = Weaver(INPUTS, OUTPUTS, pair_input_dim=4, use_pre_activation_pair=False, trim=True)
    ours = ParticleTransformer(INPUTS, outputs=OUTPUTS)
    ours.load_state_dict(from_weaver(theirs.state_dict()))
    return theirs, ours


def train(network: nn.Module, batch: tuple[Tensor, ...], label: Tensor) -> float:
    """Loss of one step, with gradients."""
    network.train()
    network.zero_grad()
    loss = cross_entropy(network(*batch), label)
    loss.backward()
    return loss.item()


def infer(network: nn.Module, batch: tuple[Tensor, ...]) -> Tensor:
    """Logits."""
    network.eval()
    with torch.no_grad():
        return network(*batch)


def gemm_peak(rounds: int) -> float:
    """The most floating-point operations per CPU second in a product of large matrices."""
    a = torch.randn(1024, 1024)
    return max(2 * 1024**3 / measure(lambda: a @ a) for _ in range(3 * rounds))


def measure(run: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    run()
    return time.process_time() - started


def operations(run: Callable[[], object]) -> float:
    """Floating-point operations of matrix products."""
    with FlopCounterMode(display=False) as counter:
        run()
    return float(counter.get_total_flops())


def row(case: str, seconds: tuple[list[float], list[float]], jets: int, share: float) -> str:
    """One line of the table; ratios are taken within a round."""
    rate = [f"{jets / min(s):.0f} / {jets / statistics.median(s):.0f}" for s in seconds]
    ratios = [theirs / ours for theirs, ours in zip(*seconds, strict=True)]
    middle = statistics.median(ratios)
    spread = f"{middle:.2f} ({min(ratios):.2f} – {max(ratios):.2f})"
    return f"| {case} | {rate[0]} | {rate[1]} | {spread} | {100 * share:.0f} % |"


def compare(jets: int, rounds: int) -> list[str]:
    """Measure all, and give the lines of the report."""
    features, momenta, counts = make_jets(jets)
    label = torch.arange(jets) % OUTPUTS
    theirs, ours = make_networks()
    packed = (features, momenta, counts)
    weaver = pad(*packed)
    for _ in range(6):  # weaver trims from its sixth call on
        expected = infer(theirs, weaver)
    off = (infer(ours, packed) - expected).abs().max().item()
    losses = [
        cross_entropy(infer(n, b), label).item() for n, b in ((theirs, weaver), (ours, packed))
    ]
    seconds: dict[str, tuple[list[float], list[float]]] = {"train": ([], []), "infer": ([], [])}
    for _ in range(rounds + 1):  # the first warms up
        for side, (network, batch) in enumerate(((theirs, weaver), (ours, packed))):
            seconds["train"][side].append(measure(lambda n=network, b=batch: train(n, b, label)))
            seconds["infer"][side].append(measure(lambda n=network, b=batch: infer(n, b)))
    seconds = {case: (a[1:], b[1:]) for case, (a, b) in seconds.items()}
    peak = gemm_peak(rounds)
    work = operations(lambda: ours.eval()(*packed))
    share = {
        "train": 3 * work / min(seconds["train"][1]) / peak,
        "infer": work / min(seconds["infer"][1]) / peak,
    }
    return [
        f"{jets} jets of {counts.double().mean():.1f} particles (square: "
        f"{counts.double().square().mean():.0f}). Same weights, same jets, without dropout: "
        f"largest difference of logits {off:.1e} (deviation {expected.std():.2f}), "
        f"loss {losses[0]:.6f} and {losses[1]:.6f}. GEMM peak {peak / 1e9:.0f} GF/s on "
        f"one core; inference is {work / jets / 1e9:.3f} GF per jet, training three times that.",
        "",
        "| step | weaver, jets per CPU s (best / median) | hepml | ratio, median (range) | "
        "of the GEMM peak (best) |",
        "| --- | --- | --- | --- | --- |",
        row("training", seconds["train"], jets, share["train"]),
        row("inference", seconds["infer"], jets, share["infer"]),
    ]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jets", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, help="folder for the table")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("torch", "weaver-core", "numpy")
    )
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines = [
        f"# Particle Transformer against weaver-core, {today}",
        "",
        f"`python benchmarks/run_transformer.py --jets {options.jets} --rounds {options.rounds}` "
        f"on {processor()}, {os.cpu_count()} cores (shared; one thread used), Python "
        f"{platform.python_version()}, {versions}. CPU time of one process, contenders in turn; "
        "only the ratios are to be trusted. Training: loss and gradients with dropout, without the "
        "optimiser; weaver drops particles at random there to trim its tables, hepml drops none.",
        "",
        *compare(options.jets, options.rounds),
    ]
    print("\n".join(lines))
    if options.output:
        name = f"transformer_{platform.machine()}_{os.cpu_count()}cores_{today}.md"
        (options.output / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
