import numpy as np
import pytest
import torch

from hepml.config import Cnn, Images, Mlp, ParticleTransformer
from hepml.data.store import ColumnWriter, open_columns
from hepml.inputs import make_resident, open_source, resident_bytes

FIELDS = ("px", "py", "pz", "energy", "deta", "dphi", "charge")
MODELS = {
    "features": Mlp(architecture="mlp", features=("b", "a")),
    "images": Cnn(architecture="cnn", images=Images(pixels=8, channels=("pt", "charged_pt"))),
    "sets": ParticleTransformer(architecture="particle_transformer", maximum=5),
}


@pytest.fixture
def samples(tmp_path):
    """Two samples of jets of 0 to 8 particles around an axis."""
    opened = []
    for name, events, seed in (("one", 31, 1), ("two", 17, 2)):
        random = np.random.default_rng(seed)
        counts = random.integers(0, 9, events)
        p = random.normal((50, 20, 30), (10, 10, 10), (counts.sum(), 3))
        deta, dphi = random.normal(0, 0.2, (2, len(p)))
        energy = np.linalg.norm(p, axis=1) + 0.1
        values = np.column_stack([p, energy, deta, dphi, random.integers(-1, 2, len(p))])
        folder = tmp_path / name
        folder.mkdir()
        ids = np.arange(events)
        with ColumnWriter(folder, ("a", "b"), FIELDS) as writer:
            columns = {"event_id": ids, "fold": ids % 3, "label": ids % 2, "weight": ids + 1.0}
            columns |= {"a": ids + 1000.0 * seed, "b": -1.0 * ids}
            writer.append(columns, counts, values.astype(np.float32))
            writer.finish({})
        opened.append(open_columns(folder))
    return opened


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_resident_events_are_those_read_batch_by_batch(samples, model):
    """Also where a batch crosses samples, is out of order or takes an event twice."""
    mapped = open_source(samples, model)
    resident = make_resident(samples, model, torch.device("cpu"))
    for events in ([47, 0, 30, 31, 32, 5], [3, 3], [8]):
        expected, found = (s.take(np.array(events)) for s in (mapped, resident))
        assert len(expected) == len(found)
        for one, other in zip(expected, found, strict=True):
            # a pixel's sum may be in another order
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


def test_features_come_in_the_order_of_their_names(samples):
    (table,) = open_source(samples, MODELS["features"]).take(np.array([33, 2]))
    # event 33 is number 2 of the second sample
    assert table.tolist() == [[-2, 2002], [-2, 1002]]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_memory_is_known_beforehand(samples, model):
    resident = make_resident(samples, model, torch.device("cpu"))
    tensors = resident._packed if hasattr(resident, "_packed") else [resident._table]
    held = sum(x.numel() * x.element_size() for x in tensors)
    # jets over the maximum of particles are cut, which is not known beforehand
    assert held <= resident_bytes(samples, model) <= 2 * held
