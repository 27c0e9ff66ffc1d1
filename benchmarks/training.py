"""How fast networks on particles read, train and infer, against weaver-core with the same weights.

    python benchmarks/training.py --against weaver [--device cuda] [--output benchmarks/results]

weaver-core 0.5.3 gets an environment of its own (``--environment``; made if it is not there). Both
sides get the same ROOT files in the schema of JetClass, the same batches, the published Particle
Transformer and the same weights. Each runs in a process of its own, with one thread where nothing
else is said; round by round, first one, then the other does

- first pass: ROOT files to batches; hepml writes its columns, and features of particles, to disk
  on the way,
- first pass on all cores: the same on the wall; weaver with so many workers (--num-workers), hepml
  with a process per core (but not more than files) that reads, as the workflow does, and as many
  threads,
- next pass: batches again, in another order; weaver reads file by file ("stream", its fastest
  without holding all jets in memory), a hundredth of each file at a time (its default), or holds
  all jets, padded, in memory,
- train: loss and gradients of one batch, with dropout, without the optimiser,
- infer: logits of one batch,
- epoch: training and validation by the loops of both packages.

On a CPU the time is CPU time where no wall is named; on a GPU it is time on the wall, under
bfloat16 autocast (weaver's --use-amp), and weaver's network also runs under torch.compile (its
--compile).
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import uproot
from hepml_worker import write_settings
from jets import write_jets
from machine import processor
from worker import Worker

from hepml.inputs.sets import FEATURES, MOMENTUM

HERE = Path(__file__).parent
WEAVER = "weaver-core==0.5.3"
NEEDED = ("numpy", "scipy", "pandas", "numexpr", "scikit-learn", "tqdm", "pyyaml", "uproot",
          "awkward", "lz4", "pyarrow", "numba")  # fmt: skip
FILES, BATCHES = 4, 4


@dataclass(frozen=True)
class Case:
    """One line of the table: a job of each side, with arguments."""

    name: str
    weaver: tuple[str, dict[str, object]]
    hepml: tuple[str, dict[str, object]]
    goal: float | None = None
    clock: str = "seconds"  # or "wall"


def make_environment(folder: Path) -> Path:
    """The interpreter of an environment that has weaver and our version of torch."""
    python = folder / "bin" / "python"
    if not python.is_file():
        print(f"making {folder}, once", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet"]
        version = torch.__version__.split("+")[0]
        subprocess.run([*install, f"torch=={version}", *NEEDED], check=True)
        subprocess.run([*install, "--no-deps", WEAVER], check=True)
    return python


def write_weaver_settings(folder: Path) -> None:
    """The features of the public JetClass configuration, from hepml's table of them.

    JSON is YAML. Left out are the two coordinates that Particle Transformer does not use.
    """
    names = {
        "part_mask": "ak.ones_like(part_energy)",
        "part_pt": "np.hypot(part_px, part_py)",
        "part_pt_log": "np.log(part_pt)",
        "part_e_log": "np.log(part_energy)",
        "part_logptrel": "np.log(part_pt / jet_pt)",
        "part_logerel": "np.log(part_energy / jet_energy)",
        "part_deltaR": "np.hypot(part_deta, part_dphi)",
        "part_d0": "np.tanh(part_d0val)",
        "part_dz": "np.tanh(part_dzval)",
    }
    features = [
        [name, None] if s is None else [name, s.shift, s.scale, s.low, s.high]
        for name, s in FEATURES["full"].items()
    ]
    inputs = {
        "pf_features": {"length": 128, "pad_mode": "wrap", "vars": features},
        "pf_vectors": {
            "length": 128,
            "pad_mode": "wrap",
            "vars": [[f"part_{name}", None] for name in MOMENTUM],
        },
        "pf_mask": {"length": 128, "pad_mode": "constant", "vars": [["part_mask", None]]},
    }
    labels = {"type": "simple", "value": ["label_QCD", "label_Tbqq"]}
    settings = {
        "new_variables": names,
        "preprocess": {"method": "manual"},
        "inputs": inputs,
        "labels": labels,
    }
    (folder / "weaver.yaml").write_text(json.dumps(settings))


def cases(options: argparse.Namespace) -> list[Case]:
    """What is compared."""
    jets = options.jets
    amp = options.device == "cuda"
    part = {"training": options.epoch_jets, "validation": options.epoch_jets // 4}
    found = [
        *(
            Case(f"first pass, {mode}", ("first_pass", {"mode": mode}), ("first_pass", {}), 4)
            for mode in ("stream", "default")
        ),
        *(
            Case(
                f"first pass on all cores, {workers} workers",
                ("first_pass", {"mode": "stream", "workers": workers}),
                ("first_pass_on_all_cores", {}), 4, "wall",
            )
            for workers in range(min(os.cpu_count() or 1, FILES) + 1)
        ),
        *(
            Case(f"next pass, {mode}", ("next_pass", {"mode": mode, "jets": jets}),
                 ("next_pass", {}), goal)
            for mode, goal in (("stream", 20), ("memory", None), ("default", None))
        ),
        Case("epoch", ("epoch", part | {"of": jets}), ("epoch", part)),
    ]  # fmt: skip
    for compiled in (False, True) if amp else (False,):
        name = " (weaver compiled)" if compiled else ""
        for number in range(BATCHES):
            step = {"number": number, "amp": amp}
            for job in ("train", "infer"):
                goal = {(False, False): 2.5, (True, False): 3, (True, True): 2}[amp, compiled]
                theirs = step | {"compiled": compiled}
                found.append(Case(job + name, (job, theirs), (job, step), goal))
    return [case for case in found if case.name.startswith(tuple(options.only))]


def check(weaver: Worker, hepml: Worker) -> str:
    """Say how far logits and losses of both sides differ."""
    off, losses, spread = 0.0, [], 0.0
    for number in range(BATCHES):
        theirs, ours = weaver.ask("logits", number=number), hepml.ask("logits", number=number)
        difference = np.subtract(theirs["logits"], ours["logits"])
        off = max(off, float(np.abs(difference).max()))
        spread = max(spread, float(np.std(ours["logits"])))
        losses.append((theirs["loss"], ours["loss"]))
    worst = max(losses, key=lambda pair: abs(pair[0] - pair[1]))
    return (
        f"From the same files to logits without dropout, {BATCHES} batches: largest difference "
        f"{off:.1e} (deviation of the logits {spread:.2f}), of a batch's loss "
        f"{abs(worst[0] - worst[1]):.1e} ({worst[0]:.6f} and {worst[1]:.6f})."
    )


def measure(
    weaver: Worker, hepml: Worker, every: Sequence[Case], rounds: int
) -> tuple[dict[str, list[tuple[float, float]]], float]:
    """Seconds per jet of weaver and hepml in each round, and the machine's best GEMM rate."""
    seconds: dict[str, list[tuple[float, float]]] = {}
    peak = 0.0
    for number in range(rounds + 1):  # the first warms up
        for case in every:
            if case.hepml[0].startswith("first_pass"):
                hepml.ask("tidy")
            answers = [side.ask(job[0], **job[1])
                       for side, job in ((weaver, case.weaver), (hepml, case.hepml))]  # fmt: skip
            if number:
                cost = [answer[case.clock] / answer["jets"] for answer in answers]
                seconds.setdefault(case.name, []).append((cost[0], cost[1]))
            product = hepml.ask("multiply")
            peak = max(peak, product["operations"] / product["seconds"])
        print(f"round {number} of {rounds} is done", file=sys.stderr)
    return seconds, peak


def rows(
    seconds: dict[str, list[tuple[float, float]]], goals: dict[str, float | None], share: dict
) -> list[str]:
    """Lines of the table."""
    lines = [
        "| what | weaver, jets/s best / median | hepml | ratio, median (least – most) | goal | "
        "of the GEMM peak |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, pairs in seconds.items():
        rates = [
            f"{1 / min(side):,.0f} / {1 / statistics.median(side):,.0f}"
            for side in zip(*pairs, strict=True)
        ]
        ratios = [theirs / ours for theirs, ours in pairs]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} – {max(ratios):.2f})"
        goal = f"{goals[name]:g}" if goals[name] else "–"
        peak = f"{share[name] / min(ours for _, ours in pairs):.0%}" if name in share else "–"
        lines.append(f"| {name} | {rates[0]} | {rates[1]} | {ratio} | {goal} | {peak} |")
    return lines


def compare(options: argparse.Namespace, folder: Path) -> list[str]:
    """Do everything, and give the lines of the report."""
    for number in range(FILES):
        path = folder / f"jets_{number}.root"
        write_jets(path, options.jets // FILES, uproot.ZLIB(1), seed=1 + number)
    write_weaver_settings(folder)
    write_settings(folder)
    common = (options.device, str(folder), str(options.batch))
    weaver = Worker(make_environment(options.environment), HERE / "weaver_worker.py", *common)
    hepml = Worker(Path(sys.executable), HERE / "hepml_worker.py", *common)
    weaver.ask("prepare", batches=BATCHES, inputs=len(FEATURES["full"]))
    counts = np.array(hepml.ask("prepare", batches=BATCHES)["counts"])
    agreement = check(weaver, hepml)
    every = cases(options)
    seconds, peak = measure(weaver, hepml, every, options.rounds)
    work = hepml.ask("operations", number=0)["operations"]
    weaver.close()
    hepml.close()
    share = {"train": 3 * work / peak, "infer": work / peak}
    return [
        f"{counts.mean():.1f} particles per jet (mean square {np.square(counts).mean():.0f}). "
        f"{agreement} GEMM peak: {peak / 1e9:,.0f} GF/s; inference is {work / 1e9:.3f} GF per "
        "jet, a training step three times that.",
        "",
        *rows(seconds, {case.name: case.goal for case in every}, share),
    ]


def read_options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", choices=["weaver"], default="weaver")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--jets", type=int, default=16_000, help=f"a multiple of {FILES}")
    parser.add_argument("--epoch-jets", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names of cases")
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "hepml" / "weaver"
    parser.add_argument("--environment", type=Path, default=cache, help="of weaver")
    parser.add_argument("--output", type=Path, help="folder for the result")
    return parser.parse_args()


def main() -> None:
    """Measure, print and write the table."""
    options = read_options()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch sees no GPU here")
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        lines = compare(options, Path(folder))
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    versions = ", ".join(f"{n} {importlib.metadata.version(n)}" for n in ("torch", "uproot"))
    only = f" --only {' '.join(map(repr, options.only))}" if any(options.only) else ""
    where = processor() if options.device == "cpu" else torch.cuda.get_device_name()
    kind = "CPU time" if options.device == "cpu" else "Time on the wall, bfloat16 autocast"
    head = [
        f"# Particle Transformer against weaver-core 0.5.3, {today}",
        "",
        f"`python benchmarks/training.py --against weaver --device {options.device} --jets "
        f"{options.jets} --batch {options.batch} --rounds {options.rounds}{only}` on {where}, "
        f"{os.cpu_count()} cores (shared; one thread each), Python {platform.python_version()}, "
        f"{versions}. {kind}, both in turn; only the ratios are to be trusted.",
        "",
    ]
    print("\n".join(head + lines))
    if options.output:
        machine = f"{platform.machine()}_{os.cpu_count()}cores"
        name = f"training_{options.device}_{machine}_{today}.md"
        (options.output / name).write_text("\n".join(head + lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
