"""How fast the data stage is, against plain uproot and against decompression alone.

    python benchmarks/run_data.py [--jets 40000] [--rounds 7] [--output benchmarks/results]

A file in the schema of JetClass is written (16 particle branches, 45 particles per jet on average,
baskets of 2500 jets). In one process, in turn, each round measures the CPU time of

- decompress: reading and decompressing the baskets of the branches: the limit,
- uproot: the same branches as awkward arrays, ``tree.arrays``,
- hepml: the data stage, from the file to finished columns on disk.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path

import awkward as ak
import numpy as np
import uproot
from machine import processor

from hepml.config import DataJob
from hepml.configfile import parse
from hepml.data.recipe import read_recipe
from hepml.data.stage import make_columns

SCALARS = ("jet_pt", "jet_eta", "jet_phi", "jet_energy", "jet_sdmass", "jet_tau1", "jet_tau2")
PARTICLES = ("px", "py", "pz", "energy", "deta", "dphi", "d0val", "d0err", "dzval", "dzerr")
FLAGS = ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron", "isMuon")
CODECS = {"zlib-1": uproot.ZLIB(1), "zstd-5": uproot.ZSTD(5)}
BASKET = 2500


def write_jets(path: Path, jets: int, codec: uproot.compression.Compression) -> None:
    """Write a JetClass-like file, as compressible as real jets."""
    random = np.random.default_rng(1)
    types = dict.fromkeys(SCALARS, np.dtype(np.float32))
    with uproot.recreate(path, compression=codec) as file:
        for start in range(0, jets, BASKET):
            number = min(BASKET, jets - start)
            counts = np.clip(random.normal(45, 17, number), 1, 128).astype(np.int64)
            particles = {
                f: random.exponential(5, counts.sum()).astype(np.float32) for f in PARTICLES
            }
            particles |= {f: random.integers(0, 2, counts.sum()).astype(np.int32) for f in FLAGS}
            part = ak.zip({name: ak.unflatten(v, counts) for name, v in particles.items()})
            scalars = {f: random.exponential(100, number).astype(np.float32) for f in SCALARS}
            if start == 0:
                file.mktree("tree", {**types, "part": part.type.content})
            file["tree"].extend({**scalars, "part": part})


def settings(particles: bool, selection: bool) -> DataJob:
    """Settings of the data stage: four variables, with or without particles and a selection."""
    data = {
        "schema": "jetclass",
        "particles": particles,
        "variables": {"pt": "jet_pt", "eta": "jet_eta", "mass": "jet_sdmass",
                      "tau21": "jet_tau2 / jet_tau1"},
        "selection": {"half": "jet_pt > 69.3"} if selection else {},
    }  # fmt: skip
    sample = {"role": "background", "files": ["x"], "expected_events": 1}
    job = {"name": "qcd", "sample": sample, "data": data, "luminosity": 1, "folds": 5}
    return parse(DataJob, json.dumps(job), "benchmark")


def decompress(path: Path, names: set[str]) -> None:
    """Read and decompress every basket of some branches."""
    with uproot.open({path: None}, array_cache=None) as file:
        for name in names:
            branch = file["tree"][name]
            for number in range(branch.num_baskets):
                branch.basket(number)


def plain(path: Path, names: set[str]) -> None:
    """Read branches as awkward arrays."""
    with uproot.open({path: None}, array_cache=None) as file:
        file["tree"].arrays(filter_name=names.__contains__, library="ak")


def measure(path: Path, job: DataJob, folder: Path, rounds: int) -> dict[str, list[float]]:
    """CPU seconds of each contender in each round."""
    names = set(read_recipe(job).wanted) | set(("jet_pt", "jet_eta", "jet_phi", "jet_energy"))
    contenders = {
        "decompress": lambda: decompress(path, names),
        "uproot": lambda: plain(path, names),
        "hepml": lambda: make_columns(job, [str(path)], folder / "columns"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds + 1):  # the first warms up
        for name, run in contenders.items():
            started = time.process_time()
            run()
            seconds[name].append(time.process_time() - started)
    return {name: values[1:] for name, values in seconds.items()}


def uncompressed_megabytes(path: Path, job: DataJob) -> float:
    """Size of the branches that are read, without compression."""
    names = set(read_recipe(job).wanted) | {"jet_pt", "jet_eta", "jet_phi", "jet_energy"}
    with uproot.open({path: None}) as file:
        return sum(file["tree"][name].uncompressed_bytes for name in names) / 1e6


def rows(path: Path, codec: str, jets: int, rounds: int) -> list[str]:
    """Lines of the table for one file."""
    lines = []
    for case, arguments in {
        "particles": (True, False),
        "particles, half selected": (True, True),
        "scalars": (False, False),
    }.items():
        job = settings(*arguments)
        seconds = measure(path, job, path.parent, rounds)
        size = uncompressed_megabytes(path, job)
        base = min(seconds["uproot"]), statistics.median(seconds["uproot"])
        for name, values in seconds.items():
            low, middle = min(values), statistics.median(values)
            lines.append(
                f"| {codec} | {case} | {name} | {1e3 * low:.0f} / {1e3 * middle:.0f} | "
                f"{jets / middle / 1e3:.0f} | {size / middle:.0f} | "
                f"{low / base[0]:.2f} / {middle / base[1]:.2f} |"
            )
    return lines


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jets", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="folder for the table")
    options = parser.parse_args()
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("uproot", "awkward", "numpy")
    )
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines = [
        f"# Data stage, {today}",
        "",
        f"`python benchmarks/run_data.py --jets {options.jets} --rounds {options.rounds}` on "
        f"{processor()}, {os.cpu_count()} cores (shared), Python {platform.python_version()}, "
        f"{versions}. CPU time of one process, contenders in turn, min / median of the rounds.",
        "",
        "decompress reads and decompresses basket by basket; each costs 0.1 ms of Python: the "
        "limit for particles, but not for scalars. The times of hepml include opening the file, "
        "checks, folds and writing the columns to disk.",
        "",
        "| codec | branches | who | ms | 1000 jets/s | MB/s uncompressed | time / uproot |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for codec, compression in CODECS.items():
            path = Path(folder) / f"{codec}.root"
            write_jets(path, options.jets, compression)
            lines += rows(path, codec, options.jets, options.rounds)
    print("\n".join(lines))
    if options.output:
        name = f"data_{platform.machine()}_{os.cpu_count()}cores_{today}.md"
        (options.output / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
