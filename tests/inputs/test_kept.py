import errno
import io
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from hepml.errors import InputError
from hepml.inputs.kept import KeptParticles

COUNTS = np.array([2, 0, 3, 1, 5, 4])


class Counting:
    """Particle k of event e has the values e + k/100 and e in two tables; notes what it makes."""

    def __init__(self, counts):
        self.counts = counts
        self.made = []

    def take(self, events):
        self.made += events.tolist()
        counts = self.counts[events]
        event = np.repeat(events, counts)
        number = np.concatenate([np.arange(n) for n in counts])
        first = np.stack([event + number / 100, number, event], 1).astype(np.float32)
        second = event[:, None].astype(np.float32)
        return torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(counts)


@pytest.mark.parametrize(
    "batches",
    [
        pytest.param([[5, 1, 0], [2, 4, 3], [0, 1, 2, 3, 4, 5]], id="two epochs"),
        pytest.param([[1], [1], [1, 4]], id="an event without particles"),
        pytest.param([[3, 3], [3, 0, 3]], id="an event twice in a batch"),
        pytest.param([[4, 2], [2, 0, 4, 5]], id="some made, some not"),
    ],
)
def test_kept_events_are_those_of_the_source_and_made_once(batches):
    source = Counting(COUNTS)
    kept = KeptParticles(source, COUNTS, tempfile.TemporaryFile)
    for events in map(np.array, batches):
        for expected, found in zip(Counting(COUNTS).take(events), kept.take(events), strict=True):
            assert torch.equal(expected, found)
            assert expected.dtype == found.dtype
    assert sorted(source.made) == np.unique(np.concatenate(batches)).tolist()


def test_events_without_any_particle_are_kept():
    none = np.zeros(3, np.int64)

    class Empty:
        def take(self, events):
            return torch.empty(0, 2), torch.zeros(len(events), dtype=torch.int64)

    kept = KeptParticles(Empty(), none, tempfile.TemporaryFile)
    for _ in range(2):
        table, counts = kept.take(np.array([2, 0]))
        assert table.shape == (0, 2)
        assert counts.tolist() == [0, 0]


def test_a_full_disk_is_told_with_what_was_wanted(tmp_path):
    class Full(io.FileIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    kept = KeptParticles(Counting(COUNTS), COUNTS, lambda: Full(tmp_path / "room", "w+"))
    with pytest.raises(InputError, match=r"\(No space left on device\).*make room there"):
        kept.take(np.array([0, 2]))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_what_is_kept(tmp_path):
    def anonymous():  # memory of the process itself, without mapped files [MB]
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("RssAnon")) / 1024

    counts = np.full(20_000, 100)  # 100 · 4 · 4 bytes each: 32 MB
    kept = KeptParticles(Counting(counts), counts, partial(tempfile.TemporaryFile, dir=tmp_path))
    kept.take(np.arange(100))
    before = anonymous()
    for _ in range(2):
        for events in np.random.default_rng(1).permutation(20_000).reshape(-1, 100):
            kept.take(events)
    assert anonymous() - before < 8
