"""Simulated ntuples: one ROOT file per job, in the schema of the public JetClass dataset.

The tree ``tree`` has one entry per jet (or toy event); ``runs`` has one row with what normalises
it. Two jets of one collision share their ``event_id``.
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import uproot
from jaxtyping import Int, UInt64

from hepml.artifacts import new_file
from hepml.config import SimulationJob
from hepml.errors import InputError
from hepml.simulation.toys import toy_branches
from hepml.simulation.trees import COMPRESSION, append

BATCH = 500  # collisions at a time; a file ends with a whole batch
HOPELESS = 20_000  # collisions without a single jet
REPORT_EVERY = 20.0  # seconds


def simulate(job: SimulationJob, output: Path) -> None:
    """Simulate one file; the same job gives the same arrays.

    Args:
        job: process, number of jets or events, seed and settings.
        output: the ROOT file, written whole or not at all.

    Raises:
        InputError: if Pythia 8 or FastJet is needed and not installed.
    """
    toy = job.process.startswith("toy_")
    with new_file(output) as temporary, uproot.recreate(temporary, compression=COMPRESSION) as file:
        runs = _write_toys(file, job) if toy else _write_jets(file, job)
        append(file, "runs", {name: np.array([value]) for name, value in runs.items()})


def event_ids(seed: int, number: Int[np.ndarray, " events"]) -> UInt64[np.ndarray, " events"]:
    """Identity of the events of a file: its seed (below 2³⁰) and their number in it (below 2³²)."""
    return np.uint64(seed << 32) + number.astype(np.uint64)


def _write_toys(file: Any, job: SimulationJob) -> dict[str, float | int]:  # noqa: ANN401
    """Exactly ``job.events`` events of weight 1 that stand for 1 pb."""
    columns = toy_branches(job, np.random.default_rng(job.seed))
    columns["event_id"] = event_ids(job.seed, np.arange(job.events))
    columns["event_weight"] = np.ones(job.events, np.float32)
    append(file, "tree", columns)
    return {
        "cross_section": 1.0,
        "cross_section_error": 0.0,
        "sum_of_weights": float(job.events),
        "generated_events": job.events,
    }


def _write_jets(file: Any, job: SimulationJob) -> dict[str, float | int]:  # noqa: ANN401
    """Whole batches of collisions until there are ``job.events`` jets."""
    try:
        from hepml.simulation.branches import accepted_jets, jet_branches
        from hepml.simulation.generate import Collisions
        from hepml.simulation.veto import OnlyHopeful
    except ModuleNotFoundError as error:
        if error.name not in ("pythia8mc", "fastjet", "vector"):
            raise
        raise InputError(
            f"the process {job.process!r} needs {error.name}, which is not installed; run "
            '`pip install "hepml-workflow[simulate]"`'
        ) from None
    collisions = Collisions(job, OnlyHopeful(job.simulation, tops_only=job.process == "top"))
    random = np.random.default_rng(job.seed)
    progress = _Progress(job)
    written = generated = 0
    while written < job.events:
        events = collisions.batch(min(BATCH, job.events))
        identity = event_ids(job.seed, generated + np.arange(len(events.weight)))
        jets = accepted_jets(events, job, random)
        if len(jets):
            append(file, "tree", jet_branches(jets, events, identity, job))
        written += len(jets)
        generated += len(events.weight)
        if not written and generated >= HOPELESS:
            raise InputError(
                f"no jet among {generated} collisions lies in simulation.jet_pt and jet_eta; bring "
                "pt_hat and jet_pt together"
            )
        progress.report(written)
    return vars(collisions.normalisation())


class _Progress:
    """Jets so far and their rate, now and then, on stderr."""

    def __init__(self, job: SimulationJob) -> None:
        self._job = job
        self._start = self._last = time.monotonic()

    def report(self, jets: int) -> None:
        now = time.monotonic()
        if jets < self._job.events and now - self._last < REPORT_EVERY:
            return
        self._last = now
        rate = jets / (now - self._start)
        wanted, process = self._job.events, self._job.process
        sys.stderr.write(f"simulate {process}: {jets} of {wanted} jets, {rate:.0f} jets/s\n")
