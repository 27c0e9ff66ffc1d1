"""Samples with known answers, as arrays and as files."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hepml.artifacts import new_folder
from hepml.config import Cut, Inference, InferenceJob
from hepml.data.store import ColumnWriter
from hepml.inference.events import Events
from hepml.inference.stage import infer

BOTH_CUTS = (Cut(variable="x", keep="above"), Cut(variable="y", keep="window"))


@pytest.fixture
def rng():
    return np.random.default_rng(20240607)


@pytest.fixture
def make_events(rng):
    """Events of two classes with equal weights: 50 expected signal, 500 background."""

    def make(signal_events, background_events, folds=5, signal_yield=50.0, background_yield=500.0):
        events = signal_events + background_events
        signal = np.arange(events) < signal_events
        weight = np.where(
            signal, signal_yield / signal_events, background_yield / background_events
        )
        return Events(
            event_id=np.arange(events, dtype=np.uint64),
            fold=rng.integers(0, folds, events),
            signal=signal,
            weight=weight,
            folds=folds,
        )

    return make


def write_samples(folder):
    """Two samples on disk: x ~ N(1.5, 1) on N(0, 1), its exact llr, and a useless y; 5 % data."""
    rng = np.random.default_rng(20240607)
    folders, scores = [], []
    for name, label, mean, expected in (("top", 1, 1.5, 50.0), ("qcd", 0, 0.0, 500.0)):
        count = 3000 + 100 * label
        x = rng.normal(mean, 1, count)
        columns = {
            "event_id": rng.integers(0, 2**63, count).astype(np.uint64),
            "fold": (np.arange(count) % 4).astype(np.int8),
            "label": np.where(np.arange(count) % 20 == 7, -1, label).astype(np.int8),
            "weight": np.full(count, expected / count),
            "x": x.astype(np.float32),
            "y": rng.normal(size=count).astype(np.float32),
        }
        stored = new_folder(folder / "data" / name)
        with stored as columns_folder, ColumnWriter(columns_folder, ("x", "y")) as writer:
            writer.append(columns)
            writer.finish({})
        folders.append(folder / "data" / name)
        scores.append(folder / f"{name}.parquet")
        identity = {key: columns[key] for key in ("event_id", "fold", "label")}
        table = identity | {"llr": 1.5 * x - 1.125}
        table["llr_train"] = table["llr"]
        pq.write_table(pa.table(table), scores[-1])
    return SimpleNamespace(folder=folder, data=tuple(folders), scores=tuple(scores))


@pytest.fixture
def samples(tmp_path):
    """Samples of one test, to be spoilt."""
    return write_samples(tmp_path)


@pytest.fixture(scope="session")
def judged(tmp_path_factory, make_job):
    """A model and cuts, judged once for all tests that only look."""
    samples = write_samples(tmp_path_factory.mktemp("judged"))
    for job in (make_job(), make_job("cuts", BOTH_CUTS)):
        output = samples.folder / f"{job.method}.json"
        workspace = samples.folder / f"{job.method}.workspace.json"
        infer(job, samples.data, () if job.cuts else samples.scores, output, workspace)
    return SimpleNamespace(
        mlp=samples.folder / "mlp.json",
        cuts=samples.folder / "cuts.json",
        workspace=samples.folder / "mlp.workspace.json",
    )


@pytest.fixture(scope="session")
def make_job():
    def make(method="mlp", cuts=(), **settings):
        inference = Inference(
            **{"background_uncertainty": 0.1, "replicas": 10, "bins": 4} | settings
        )
        return InferenceJob(
            method=method, title=method.upper(), cuts=cuts, inference=inference, folds=4, seed=11
        )

    return make


@pytest.fixture
def trained(tmp_path):
    """Folders of two trained folds."""
    folders = []
    for fold, seconds in enumerate((1.5, 2.0)):
        folder = tmp_path / "training" / f"fold{fold}"
        folder.mkdir(parents=True)
        described = {"parameters": 321, "macs": 300.5, "seconds": seconds, "device": "cpu"}
        (folder / "model.json").write_text(json.dumps(described))
        folders.append(folder)
    return tuple(folders)
