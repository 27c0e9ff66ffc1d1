from contextlib import nullcontext

import numpy as np
import pytest
import torch

from hepml import kernels
from hepml.config import Cnn, ParticleTransformer
from hepml.data.store import ColumnWriter, open_columns
from hepml.errors import InputError
from hepml.inputs import open_source
from hepml.inputs.source import ParticleSource, gather_rows
from hepml.models import build

FIELDS = ("px", "py", "pz", "energy", "deta", "dphi")
CPU = torch.device("cpu")


@pytest.fixture
def write_jets(tmp_path):
    """Jets of given numbers of particles; particle k of all carries the number k as px."""

    def write(name, counts, first, fields=FIELDS):
        total = sum(counts)
        values = np.zeros((total, len(fields)), np.float32)
        values[:, 0] = first + np.arange(total)
        values[:, 3] = 2 * values[:, 0] + 1
        folder = tmp_path / name
        folder.mkdir()
        ids = np.arange(len(counts))
        with ColumnWriter(folder, (), fields) as writer:
            columns = {"event_id": ids, "fold": ids % 3, "label": ids % 2, "weight": ids + 1.0}
            writer.append(columns, np.array(counts), values)
            writer.finish({})
        return open_columns(folder)

    return write


@pytest.fixture
def samples(write_jets):
    return [write_jets("a", [2, 0, 3], first=0), write_jets("b", [1, 4], first=5)]


def test_particles_are_found_through_all_samples(samples):
    source = ParticleSource(samples, lambda values, counts: (values, counts))
    # jets 0 to 4 hold the particles 0 1 | - | 2 3 4 | 5 | 6 7 8 9
    values, counts = source.gather(np.array([4, 0, 1, 3, 2]))
    assert counts.tolist() == [4, 2, 0, 1, 3]
    assert values[:, 0].tolist() == [6, 7, 8, 9, 0, 1, 5, 2, 3, 4]


def test_one_event_may_be_taken_twice(samples):
    source = ParticleSource(samples, lambda values, counts: (values, counts))
    values, counts = source.gather(np.array([3, 3]))
    assert values[:, 0].tolist() == [5, 5]
    assert counts.tolist() == [1, 1]


@pytest.mark.parametrize("by", [nullcontext, kernels.without_kernels], ids=["kernel", "numpy"])
def test_rows_are_those_of_slices(by):
    random = np.random.default_rng(1)
    tables = [random.random((rows, 7), np.float32) for rows in (400, 1, 300)]
    counts = random.integers(0, 9, 500)
    table = random.choice([0, 2], 500)
    start = random.integers(0, 290, 500)
    slices = [tables[t][a : a + n] for t, a, n in zip(table, start, counts, strict=True)]
    with by():
        found = gather_rows(tables, table, start, counts)
        one = gather_rows(tables[:1], np.zeros(500, int), start, counts)
        none = gather_rows(tables, table[:0], start[:0], counts[:0])
    np.testing.assert_array_equal(found, np.concatenate(slices))
    of_one = [tables[0][a : a + n] for a, n in zip(start, counts, strict=True)]
    np.testing.assert_array_equal(one, np.concatenate(of_one))
    assert none.shape == (0, 7)


def test_rows_beyond_a_table_are_refused():
    table = np.zeros((10, 3), np.float32)
    for start, count in ((8, 3), (-1, 1), (5, -1)):
        with pytest.raises(IndexError, match="beyond the end"):
            kernels.gather([table], np.array([0]), np.array([start]), np.array([count]))


def test_samples_with_other_fields_do_not_fit(write_jets):
    mixed = [write_jets("a", [1], 0), write_jets("b", [1], 0, fields=(*FIELDS, "charge"))]
    with pytest.raises(InputError, match="different particle fields"):
        ParticleSource(mixed, lambda values, counts: (values, counts))


@pytest.mark.parametrize(
    "model",
    [
        Cnn(architecture="cnn", width=4),
        ParticleTransformer(architecture="particle_transformer"),
        ParticleTransformer(architecture="particle_transformer", pairs=False, maximum=2),
    ],
    ids=["cnn", "particle transformer", "plain transformer"],
)
def test_every_network_reads_its_source(samples, model):
    """Logits of a jet are its own, whichever jets come with it: also of one without particles."""
    torch.manual_seed(1)
    network, source = build(model).eval(), open_source(samples, model)
    with torch.no_grad():
        together = network(*source.take(np.arange(5)))
        alone = torch.cat([network(*source.take(np.array([k]))) for k in range(5)])
    assert together.shape == (5,)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
