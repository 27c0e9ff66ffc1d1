"""`hepml check --closure`: the only file of the detectors that opens files."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from hepml.config import Analysis, OwnOnFeatures, TrainingJob, inputs_of
from hepml.config.models import Mlp
from hepml.data.folds import assign_folds, splitmix64
from hepml.data.store import Columns, ColumnWriter, open_columns
from hepml.inference.detectors.questions import (
    Finding,
    disjoint,
    linear,
    nothing_gained,
    symmetric,
    uniform_without_signal,
    within_limit,
)
from hepml.inference.diagnostics.record import DIAGNOSTICS
from hepml.inference.events import Events
from hepml.inference.stage import read_events, read_ratios, read_written
from hepml.inputs import open_source
from hepml.inputs.source import FeatureSource, ParticleSource
from hepml.jobs import inference_job, training_job
from hepml.models.own import import_factory
from hepml.scores.stage import score
from hepml.training.checkpoint import load
from hepml.training.stage import train

SHUFFLED = 3000  # events on which networks are trained with shuffled labels
EPOCHS = 3
JETS = 64  # on which networks on particles are tried
CPU = torch.device("cpu")


def detect(analysis: Analysis, results: Path) -> Iterator[Finding]:
    """Look for cheating in the results of an analysis; a finding per question, as they come.

    Args:
        analysis: all settings.
        results: folder of the analysis, as the workflow fills it.

    Raises:
        InputError: if results are missing.
    """
    samples = [open_columns(results / "data" / name) for name in analysis.compared]
    events = read_events(samples, analysis.folds)
    yield disjoint(events.event_id, events.fold)
    for model in analysis.models:
        for finding in _of_model(analysis, results, model, samples, events):
            yield Finding(f"{model}: {finding.name}", finding.passed, finding.told)


def _of_model(
    analysis: Analysis, results: Path, model: str, samples: list[Columns], events: Events
) -> Iterator[Finding]:
    random = np.random.default_rng(analysis.seed)
    paths = tuple(results / "scores" / model / f"{name}.parquet" for name in analysis.compared)
    llr = read_ratios(inference_job(analysis, model), samples, paths)[0]
    yield linear(llr, events, random)
    yield uniform_without_signal(llr, events, random)
    yield _shuffled(analysis, model, samples)
    settings = analysis.models[model]
    if inputs_of(settings) == "sets":
        yield _symmetric(analysis, results, model, samples)
    path = results / "inference" / f"{model}.closure.json"
    yield within_limit(
        read_written(path, DIAGNOSTICS.validate_json, "no diagnostics", "hepml diagnose").limit
    )


def _symmetric(analysis: Analysis, results: Path, model: str, samples: list[Columns]) -> Finding:
    settings = analysis.models[model]
    maker = getattr(settings, "factory", None)
    factory = import_factory(maker) if maker else None
    network = load(results / "training" / model / "fold0", factory).network
    jets = np.arange(min(JETS, samples[0].events))
    inputs = open_source(samples[:1], settings).take(jets)
    return symmetric(network, inputs, torch.Generator().manual_seed(analysis.seed))


def _shuffled(analysis: Analysis, model: str, samples: list[Columns]) -> Finding:
    """Train and score anew, as the workflow does, on a few events whose labels are drawn by lot."""
    settings = analysis.models[model]
    job = training_job(analysis, model)
    quick = {"epochs": EPOCHS, "patience": EPOCHS - 1}
    shorter = job.model.training.model_copy(update=quick)
    job = job.model_copy(update={"model": job.model.model_copy(update={"training": shorter})})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_shuffled(folder / "data", samples, job)
        columns = open_columns(folder / "data")
        for fold in range(job.folds):
            train(job, [columns.folder], fold, folder / f"fold{fold}", CPU, lambda _: None)
        maker = getattr(settings, "factory", None)
        score(
            [folder / f"fold{fold}" for fold in range(job.folds)],
            columns.folder,
            (),
            folder / "scores.parquet",
            CPU,
            import_factory(maker) if maker else None,
        )
        llr = pq.read_table(folder / "scores.parquet")["llr"].to_numpy().astype(np.float64)
        return nothing_gained(llr, read_events([columns], job.folds))


def _write_shuffled(folder: Path, samples: list[Columns], job: TrainingJob) -> None:
    """Some events of all samples; a hash of what they are numbered calls every second signal."""
    random = np.random.default_rng(job.seed)
    first = np.cumsum([0, *(sample.events for sample in samples)])
    share = SHUFFLED // len(samples)
    rows = [np.sort(random.permutation(sample.events)[:share]) for sample in samples]
    events = np.concatenate([start + own for start, own in zip(first, rows, strict=False)])
    identity = np.arange(len(events), dtype=np.uint64)
    columns = {
        "event_id": identity,
        "fold": assign_folds(identity, job.folds),
        "label": (splitmix64(splitmix64(identity)) % np.uint64(2)).astype(np.int8),
        "weight": np.ones(len(identity)),
    }
    names = job.model.features if isinstance(job.model, Mlp | OwnOnFeatures) else ()
    fields: tuple[str, ...] = ()
    counts = values = None
    if names:
        (table,) = FeatureSource(samples, names).take(events)
        columns |= dict(zip(names, table.numpy().T, strict=True))
    else:
        fields = samples[0].particles().fields
        values, counts = ParticleSource(samples, lambda *packed: packed).gather(events)
    folder.mkdir()
    with ColumnWriter(folder, names, fields) as writer:
        writer.append(columns, counts, values)
        writer.finish({})
