import zlib

import awkward as ak
import deflate
import numpy as np
import pytest
import uproot

from hepml.data.inflate import Libdeflate
from hepml.data.ntuples import open_file, open_tree
from hepml.errors import InputError

NAMES = ("x", "n", "part")


@pytest.fixture
def ntuple(tmp_path):
    """A tree of several zlib baskets per branch, and what was written."""
    random = np.random.default_rng(3)
    counts = random.integers(0, 9, 30_000)
    content = {
        "x": random.normal(size=30_000),
        "n": counts.astype(np.int32),
        "part": ak.unflatten(random.normal(size=counts.sum()).astype(np.float32), counts),
    }
    with uproot.recreate(tmp_path / "a.root", compression=uproot.ZLIB(4)) as file:
        file.mktree("tree", {"x": "f8", "n": "i4", "part": "var * float32"})
        for start in range(0, 30_000, 10_000):
            file["tree"].extend({n: v[start : start + 10_000] for n, v in content.items()})
    return tmp_path / "a.root", content


def read(path):
    with open_file(str(path)) as file:
        (chunk,) = open_tree(file, str(path), "tree").chunks(set(NAMES))
    return chunk.arrays


def test_the_reader_uses_it_and_reads_what_was_written(ntuple, monkeypatch):
    path, content = ntuple
    blocks = []

    def inflate(self, data, uncompressed_bytes):
        found = decompress(self, data, uncompressed_bytes)
        assert found == zlib.decompress(data)
        blocks.append(uncompressed_bytes)
        return found

    decompress = Libdeflate.decompress
    monkeypatch.setattr(Libdeflate, "decompress", inflate)
    arrays = read(path)
    for name in NAMES:
        assert arrays[name].tolist() == content[name].tolist()
    assert sum(blocks) > 30_000 * (8 + 4) + 4 * content["n"].sum()


def test_a_damaged_block_is_said_with_its_file(ntuple):
    path, _ = ntuple
    damaged = bytearray(path.read_bytes())
    place = len(damaged) // 2  # within a basket
    damaged[place : place + 4] = bytes(255 - byte for byte in damaged[place : place + 4])
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"a\.root: tree 'tree', .* damaged or truncated: "):
        read(path)


@pytest.mark.parametrize("size", [1, 299])
def test_a_block_larger_than_declared(size):
    block = np.frombuffer(zlib.compress(b"abc" * 100), np.uint8)
    with pytest.raises(deflate.DeflateError):
        Libdeflate().decompress(block, size)
