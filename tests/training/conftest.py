import numpy as np
import pytest

from hepml.config import Mlp, Training, TrainingJob
from hepml.data.folds import assign_folds
from hepml.data.store import ColumnWriter

FOLDS = 3


@pytest.fixture
def write_sample(tmp_path):
    """Write a sample of one-dimensional Gaussian events in the format of the data stage."""

    def write(name, mean, label, events=900, seed=1, weight=None):
        generator = np.random.default_rng(seed)
        ids = np.arange(events, dtype=np.uint64) + np.uint64(10**6 * seed)
        folder = tmp_path / name
        folder.mkdir()
        with ColumnWriter(folder, ("x", "noise")) as writer:
            writer.append(
                {
                    "event_id": ids,
                    "fold": assign_folds(ids, FOLDS),
                    "label": np.full(events, label),
                    "weight": np.ones(events) if weight is None else weight,
                    "x": generator.normal(mean, 1, events),
                    "noise": generator.normal(5, 3, events),
                }
            )
            writer.finish({})
        return folder

    return write


@pytest.fixture
def job():
    training = Training(epochs=4, patience=3, batch_size=64, learning_rate=1e-2)
    model = Mlp(architecture="mlp", features=("x", "noise"), hidden=(8,), training=training)
    return TrainingJob(model=model, folds=FOLDS, seed=3)


WIDTHS = {0: 0.30, 1: 0.22}  # of deta and dphi in the toy jets, by label
PARTICLE_FIELDS = ("px", "py", "pz", "energy", "deta", "dphi")


@pytest.fixture
def write_jets(tmp_path):
    """Write jets of equally hard particles whose directions alone tell signal from background.

    deta and dphi of each particle are drawn from N(0, WIDTHS[label]²), their number from a Poisson
    distribution whatever the label: a sum over the particles is the exact log-likelihood ratio.
    """

    def write(label, events=3000, mean=12, seed=1):
        generator = np.random.default_rng([seed, label])
        counts = generator.poisson(mean, events)
        values = np.zeros((counts.sum(), len(PARTICLE_FIELDS)), np.float32)
        values[:, [0, 3]] = 10.0  # px, energy
        values[:, 4:] = generator.normal(0, WIDTHS[label], (counts.sum(), 2))
        radius2 = np.square(values[:, 4:].astype(np.float64)).sum(axis=1)
        each = 2 * np.log(WIDTHS[0] / WIDTHS[1])
        each = each - radius2 / 2 * (WIDTHS[1] ** -2 - WIDTHS[0] ** -2)
        exact = np.bincount(np.repeat(np.arange(events), counts), each, events)
        ids = np.arange(events, dtype=np.uint64) + np.uint64(10**6 * (2 * seed + label))
        folder = tmp_path / f"jets_{label}_{seed}"
        folder.mkdir()
        with ColumnWriter(folder, ("exact_llr",), PARTICLE_FIELDS) as writer:
            columns = {
                "event_id": ids,
                "fold": assign_folds(ids, FOLDS),
                "label": np.full(events, label),
                "weight": np.ones(events),
                "exact_llr": exact,
            }
            writer.append(columns, counts, values)
            writer.finish({})
        return folder

    return write
