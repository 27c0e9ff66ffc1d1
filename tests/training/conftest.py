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
