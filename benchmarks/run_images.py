"""How fast jet images are drawn, against a loop over jets and against writing the images at all.

    OMP_NUM_THREADS=1 python benchmarks/run_images.py [--jets 20000] [--rounds 9] [--output DIR]

In one process, in turn, each round measures the CPU time of

- memset: new memory for the images, filled with zeros: the limit,
- hepml: px, py, pz to finished images, with all steps of the preprocessing,
- hepml, torch: the same on CPU tensors,
- loop: jet by jet, the steps in NumPy and np.histogram2d, on 1/20 of the jets.

Then it trains the default network on such images, with weights in both layouts.
"""

import argparse
import datetime
import math
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from machine import processor
from torch.nn.functional import binary_cross_entropy_with_logits

from hepml.inputs.images import ImageSettings, jet_images
from hepml.models.cnn import Cnn

FIELDS = ("px", "py", "pz", "energy")
LOOP_SHARE = 20
BATCH = 256


def make_jets(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Jets with 47.6 particles on average, as in JetClass."""
    random = np.random.default_rng(1)
    counts = np.clip(random.normal(47.6, 17, number), 1, 128).astype(np.int64)
    eta, phi = random.uniform((-2, -math.pi), (2, math.pi), (number, 2)).repeat(counts, axis=0).T
    eta, phi = eta + random.normal(0, 0.25, len(eta)), phi + random.normal(0, 0.25, len(phi))
    pt = random.exponential(12, len(eta))
    momentum = [pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta), pt * np.cosh(eta)]
    return np.stack(momentum, axis=1).astype(np.float32), counts


def draw_one(jet: np.ndarray, pixels: int) -> np.ndarray:
    """One jet the plain way, in double precision."""
    px, py, pz, _ = jet.T.astype(np.float64)
    pt = np.hypot(px, py)
    turn = np.arctan2(py, px) - math.atan2(py.sum(), px.sum())
    plane = np.stack([np.arcsinh(pz / pt), (turn + math.pi) % (2 * math.pi) - math.pi])
    plane -= np.average(plane, weights=pt, axis=1)[:, None]
    _, axes = np.linalg.eigh((pt * plane) @ plane.T)
    plane = axes[:, ::-1].T @ plane
    plane *= np.where((pt * np.sign(plane)).sum(axis=1) < 0, -1, 1)[:, None]
    edges = np.linspace(-0.8, 0.8, pixels + 1)
    return np.histogram2d(*plane, bins=(edges, edges), weights=pt / pt.sum())[0]


def interleave(contenders: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each contender in each round, after one round to warm up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):
        for name, work in contenders.items():
            started = time.process_time()
            work()
            seconds[name].append(time.process_time() - started)
    return {name: values[1:] for name, values in seconds.items()}


def drawing(values: np.ndarray, counts: np.ndarray, pixels: int) -> dict[str, Callable[[], object]]:
    """The contenders that draw."""
    settings = ImageSettings(pixels)
    tensors = torch.tensor(values), torch.tensor(counts)
    few = np.split(values, np.cumsum(counts[: len(counts) // LOOP_SHARE]))[:-1]
    return {
        "memset": lambda: np.empty((len(counts), 1, pixels, pixels), np.float32).fill(0),
        "hepml": lambda: jet_images(values, counts, FIELDS, settings),
        "hepml, torch": lambda: jet_images(*tensors, FIELDS, settings),
        "loop": lambda: [draw_one(jet, pixels) for jet in few],
    }


def training_step(images: torch.Tensor, layout: torch.memory_format) -> Callable[[], object]:
    """One step of the default network on one batch."""
    network = Cnn([0.001]).to(memory_format=layout)
    optimiser = torch.optim.AdamW(network.parameters())
    label = torch.arange(len(images)).remainder(2).float()

    def step() -> None:
        optimiser.zero_grad()
        binary_cross_entropy_with_logits(network(images), label).backward()
        optimiser.step()

    return step


def report(arguments: argparse.Namespace) -> str:
    """Measure; the tables as markdown."""
    values, counts = make_jets(arguments.jets)
    lines = [
        "| pixels | who | µs/jet min / median / max | 1000 jets/s | speed / loop | time / memset |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for pixels in (33, 40, 64):
        seconds = interleave(drawing(values, counts, pixels), arguments.rounds)
        jets = {name: len(counts) // (LOOP_SHARE if name == "loop" else 1) for name in seconds}
        cost = {n: [1e6 * s / jets[n] for s in sorted(seconds[n])] for n in seconds}
        for name, us in cost.items():
            lines.append(
                f"| {pixels} | {name} | {us[0]:.2f} / {statistics.median(us):.2f} / {us[-1]:.2f} "
                f"| {1e3 / us[0]:.0f} | {cost['loop'][0] / us[0]:.1f} "
                f"| {us[0] / cost['memset'][0]:.1f} |"
            )
    images = jet_images(values, counts, FIELDS, ImageSettings()).images[:BATCH]
    layouts = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
    steps = {name: training_step(torch.tensor(images), lay) for name, lay in layouts.items()}
    lines += [
        "",
        "| training, batch 256 | ms/jet min / median / max | jets/s |",
        "| --- | --- | --- |",
    ]
    for name, used in interleave(steps, arguments.rounds).items():
        ms = [1e3 * s / BATCH for s in sorted(used)]
        lines.append(
            f"| {name} | {ms[0]:.3f} / {statistics.median(ms):.3f} / {ms[-1]:.3f} "
            f"| {1e3 / ms[0]:.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write a dated result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--jets", type=int, default=20000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    today = datetime.datetime.now(tz=datetime.UTC).date()
    text = (
        f"# Jet images, {today}\n\n`OMP_NUM_THREADS=1 python benchmarks/run_images.py --jets "
        f"{arguments.jets} --rounds {arguments.rounds}` on {processor()}, {os.cpu_count()} cores "
        f"(shared), Python {platform.python_version()}, numpy {np.__version__}, torch "
        f"{torch.__version__}. CPU time of one thread, contenders in turn; rates and ratios from "
        f"the fastest round.\n\n{report(arguments)}\n"
    )
    print(text)
    if arguments.output:
        name = f"images_{platform.machine()}_{os.cpu_count()}cores_{today}.md"
        (arguments.output / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
