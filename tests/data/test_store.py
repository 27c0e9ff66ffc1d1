import json

import numpy as np
import pytest

from hepml.data.store import ColumnWriter, open_columns
from hepml.errors import InputError


def columns(start, stop):
    number = np.arange(start, stop)
    return {"event_id": number, "fold": number % 3, "label": number % 2,
            "weight": number * 0.5, "x": number * 10.0}  # fmt: skip


@pytest.fixture(name="folder")
def _folder(tmp_path):
    """Seven events in two chunks; event i has i particles."""
    with ColumnWriter(tmp_path, ("x",), ("px", "py")) as writer:
        for start, stop in ((0, 3), (3, 7)):
            counts = np.arange(start, stop)
            table = np.repeat(counts, counts)[:, None] + np.array([0.0, 0.5])
            writer.append(columns(start, stop), counts, table)
        writer.finish({"sample": "top"}, weight_factor=4.0)
    return tmp_path


def test_what_was_written_comes_back(folder):
    stored = open_columns(folder)
    assert stored.events == 7
    assert stored["x"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert stored["weight"].tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert stored.metadata == {"sample": "top"}
    dtypes = {name: stored[name].dtype for name in stored.names}
    assert dtypes == {"event_id": np.uint64, "fold": np.int8, "label": np.int8,
                      "weight": np.float64, "x": np.float32}  # fmt: skip


def test_particles_of_one_event_lie_between_its_offsets(folder):
    particles = open_columns(folder).particles()
    assert particles.fields == ("px", "py")
    assert particles.offsets.tolist() == [0, 0, 1, 3, 6, 10, 15, 21]
    third = particles.values[particles.offsets[3] : particles.offsets[4]]
    assert third.tolist() == [[3, 3.5]] * 3


def test_columns_are_read_only_memory_maps(folder):
    column = open_columns(folder)["x"]
    assert isinstance(column, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        column[0] = 1


def test_a_folder_that_was_not_finished_is_not_opened(tmp_path):
    with ColumnWriter(tmp_path, ("x",)) as writer:
        writer.append(columns(0, 3))
    with pytest.raises(InputError, match=r"no complete columns here \(columns.json is missing\)"):
        open_columns(tmp_path)


def test_unknown_columns_are_named_with_the_nearest(folder):
    with pytest.raises(InputError, match=r"no column 'wieght' \(nearest: weight"):
        open_columns(folder)["wieght"]


@pytest.mark.parametrize("length", [0, 5, 100, 130])
def test_truncated_columns_are_refused(folder, length):
    path = folder / "x.npy"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"x\.npy: .*run `hepml data` again"):
        open_columns(folder)["x"]


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_description_is_refused(folder, text):
    (folder / "columns.json").write_text(text)
    with pytest.raises(InputError, match="run `hepml data`"):
        open_columns(folder)


def test_columns_of_another_run_are_refused(folder):
    description = folder / "columns.json"
    content = json.loads(description.read_text())
    description.write_text(json.dumps(content | {"events": 8}))
    with pytest.raises(InputError, match="7 rows, expected 8"):
        open_columns(folder)["x"]


def test_a_sample_without_particles_says_so(tmp_path):
    with ColumnWriter(tmp_path, ("x",)) as writer:
        writer.append(columns(0, 3))
        writer.finish({})
    with pytest.raises(InputError, match=r"set data\.particles: true"):
        open_columns(tmp_path).particles()
