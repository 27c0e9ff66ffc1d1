import errno
import os
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


def test_events_made_at_once_are_those_of_the_source():
    """20,000 events in several threads, of which some are there before, against one call."""
    counts = np.random.default_rng(1).integers(0, 5, 20_000)
    wanted = np.random.default_rng(2).permutation(20_000)[:15_000]
    source = Counting(counts)
    kept = KeptParticles(source, counts, tempfile.TemporaryFile)
    kept.take(wanted[:10])
    kept.make(wanted)
    assert sorted(source.made) == sorted(wanted)
    for expected, found in zip(Counting(counts).take(wanted), kept.take(wanted), strict=True):
        assert torch.equal(expected, found)
    assert len(source.made) == len(wanted)


def test_long_making_is_told(monkeypatch):
    monkeypatch.setattr("hepml.inputs.kept._NEWS", 0.0)
    counts = np.ones(5000, np.int64)
    told = []
    KeptParticles(Counting(counts), counts, tempfile.TemporaryFile).make(
        np.arange(5000), told.append
    )
    assert told[0] == "features of particles: made of 2,048 of 5,000 events"
    assert told[-1] == "features of particles: made of 5,000 of 5,000 events"


def test_what_the_source_raises_in_a_thread_is_raised():
    counts = np.ones(5000, np.int64)

    class Broken(Counting):
        def take(self, events):
            if 4000 in events:
                raise InputError("jet 4000: broken")
            return super().take(events)

    kept = KeptParticles(Broken(counts), counts, tempfile.TemporaryFile)
    with pytest.raises(InputError, match="jet 4000"):
        kept.make(np.arange(5000))


def test_other_numbers_of_particles_than_announced_are_refused():
    kept = KeptParticles(Counting(COUNTS), COUNTS + 1, tempfile.TemporaryFile)
    with pytest.raises(RuntimeError, match="other numbers of particles"):
        kept.take(np.array([0]))


def test_a_disk_that_takes_little_at_a_time(monkeypatch):
    write = os.pwrite
    monkeypatch.setattr("os.pwrite", lambda file, data, place: write(file, data[:5], place))
    kept = KeptParticles(Counting(COUNTS), COUNTS, tempfile.TemporaryFile)
    events = np.arange(6)
    for expected, found in zip(Counting(COUNTS).take(events), kept.take(events), strict=True):
        assert torch.equal(expected, found)


def test_a_full_disk_is_told_with_what_was_wanted(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.pwrite", full)
    kept = KeptParticles(Counting(COUNTS), COUNTS, tempfile.TemporaryFile)
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
