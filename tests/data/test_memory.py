import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from hepml.data.stage import PART
from hepml.data.store import ColumnWriter
from hepml.jobs import part_settings

_RUN = """
import resource, sys
from pathlib import Path
from hepml.config import DataJob
from hepml.configfile import parse
from hepml.data import ntuples
from hepml.data.stage import make_columns

ntuples.CHUNK = 4_000_000
job = parse(DataJob, sys.argv[1], "job")
make_columns(job, [sys.argv[2]], Path(sys.argv[3]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
make_columns(job, [sys.argv[4]], Path(sys.argv[3]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_stays_flat_as_files_grow(tmp_path, make_job):
    import awkward as ak
    import uproot

    random = np.random.default_rng(1)
    paths = {}
    for name, baskets in (("small", 8), ("large", 80)):
        paths[name] = tmp_path / f"{name}.root"
        with uproot.recreate(paths[name], compression=None) as file:
            for basket in range(baskets):
                flat = random.normal(size=(4, 100_000)).astype(np.float32)
                flat[3] = np.abs(flat[3])  # an energy
                columns = zip(("px", "py", "pz", "e"), flat, strict=True)
                part = ak.zip({name: ak.unflatten(v, [50] * 2000) for name, v in columns})
                event = np.arange(2000) + 2000 * basket
                if basket == 0:
                    file.mktree("tree", {"event": event.dtype, "part": part.type.content})
                file["tree"].extend({"event": event, "part": part})
    particles = {"px": "part_px", "py": "part_py", "pz": "part_pz", "energy": "part_e"}
    schema = {"tree": "tree", "identity": [["event"]], "particles": particles}
    job = make_job({"n": "count(part_px)"}, schema=schema)
    arguments = [
        job.model_dump_json(by_alias=True),
        paths["small"],
        tmp_path / "out",
        paths["large"],
    ]
    answer = subprocess.run(
        [sys.executable, "-c", _RUN, *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    larger = paths["large"].stat().st_size - paths["small"].stat().st_size  # 115 MB
    assert int(answer.stdout) * 1024 < larger / 4


_JOIN = """
import resource, sys
from pathlib import Path
from hepml.config import DataJob
from hepml.configfile import parse
from hepml.data import store
from hepml.data.stage import merge_parts

store.BLOCK = 1_000_000
job, parts = parse(DataJob, sys.argv[1], "job"), [Path(part) for part in sys.argv[3:]]
merge_parts(job, parts[:1], Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge_parts(job, parts, Path(sys.argv[2]))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_memory_stays_flat_as_parts_become_more(tmp_path, make_job):
    """Pages of memory maps count: a batch system that adds them up would kill the job."""
    job = make_job({"x": "pt"})
    events, per_event = 100_000, 10
    parts = [tmp_path / f"part{number}" for number in range(12)]
    ones = np.ones(events)
    columns = {"event_id": ones, "fold": ones, "label": ones, "weight": ones, "x": ones}
    with ColumnWriter(_new(parts[0]), ("x",), ("px", "py", "pz", "energy")) as writer:
        counts = np.full(events, per_event)
        writer.append(columns, counts, np.ones((events * per_event, 4), np.float32))
        writer.finish({}, description=PART)
    size = sum(file.stat().st_size for file in parts[0].iterdir())
    description = json.loads((parts[0] / PART).read_text())
    counted = {"identity": ["event"], "cutflow": [], "generated": [[1.0, None, 0.0]]}
    for part in parts:
        if part != parts[0]:
            shutil.copytree(parts[0], part)
        counted |= {"files": [f"{part.name}.root"], "events_read": events, "negative": 0}
        settings = json.loads(part_settings(job))
        content = description | {"metadata": {"settings": settings, "counts": counted}}
        (part / PART).write_text(json.dumps(content))
    arguments = [job.model_dump_json(by_alias=True), tmp_path / "out", *parts]
    answer = subprocess.run(
        [sys.executable, "-c", _JOIN, *map(str, arguments)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert size > 18e6
    assert int(answer.stdout) * 1024 < size / 4  # of the eleven that came to the first


def _new(folder):
    folder.mkdir()
    return folder
