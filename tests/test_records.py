"""Records name what was read, not what lies there later."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from hepml.artifacts import sha256
from hepml.cli import hepml
from hepml.configfile import load
from hepml.data import stage
from hepml.errors import InputError
from hepml.explain import explain
from hepml.jobs import data_job, data_settings, part_settings, simulation_job
from hepml.records import FOLDER, provenance

DATA = Path("results/tiny/data/s")
PARTS = [Path(f"results/tiny/data/s.parts/{number}") for number in range(2)]
NTUPLES = [Path(f"results/tiny/ntuples/s_{number}.root") for number in range(3)]


def run(*arguments):
    answer = CliRunner().invoke(hepml, list(map(str, arguments)), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.fixture(name="analysis")
def _analysis(tmp_path, monkeypatch, tiny):
    """Three ntuples of one sample; two columns were made of them, one by way of parts."""
    monkeypatch.chdir(tmp_path)
    several = tiny.replace("toy_signal, events: 3000", "toy_signal, events: 300")
    Path("c.yaml").write_text(several.replace("{toy:", "{events_per_file: 100, toy:"))
    analysis = load(Path("c.yaml"))
    for number, file in enumerate(NTUPLES):
        run("simulate", file, "--settings",
            simulation_job(analysis, "s", number).model_dump_json())  # fmt: skip
    job = data_job(analysis, "s")
    shared = NTUPLES[:2], NTUPLES[2:]
    for part, files in zip(PARTS, shared, strict=True):
        run("data", *files, "--part", "--settings", part_settings(job), "--output", part)
    run("merge-data", *PARTS, "--settings", data_settings(job), "--output", DATA)
    return analysis


def test_joined_columns_are_explained_back_to_the_ntuples(analysis):
    account = explain(DATA, analysis)
    assert account.current
    assert [each.record["command"] for each in account.before] == ["data", "data"]
    assert account.before[0].record["options"] == {"part": True}
    assert [list(each.inputs) for each in account.before] == [
        list(map(str, NTUPLES[:2])),
        list(map(str, NTUPLES[2:])),
    ]
    assert account.before[1].before[0].record["command"] == "simulate"
    other = Path("c.yaml").read_text().replace("luminosity: 1", "luminosity: 2")
    Path("other.yaml").write_text(other)
    then = explain(DATA, load(Path("other.yaml")))
    assert [each.settings for each in (then, *then.before)] == [(("luminosity", 1.0, 2.0),)] * 3


def test_parts_that_were_removed_are_explained_by_their_records(analysis):
    shutil.rmtree(PARTS[0])
    account = explain(DATA, analysis)
    assert account.inputs == {str(PARTS[0]): "removed", str(PARTS[1]): "unchanged"}
    assert account.current
    assert list(account.before[0].inputs) == list(map(str, NTUPLES[:2]))
    # of a part that was made again since, the record is of something else
    place = PARTS[0].parent / FOLDER / "0.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | {"sha256": "0" * 64}))
    assert explain(DATA, analysis).inputs[str(PARTS[0])] == "gone"


@pytest.mark.usefixtures("analysis")
def test_the_provenance_is_of_the_files_that_were_read():
    known = {str(file): sha256(file) for file in NTUPLES}
    Path("own.py").write_text("abc")
    NTUPLES[1].write_bytes(NTUPLES[1].read_bytes()[:-1] + b"?")
    shutil.rmtree(PARTS[0])
    found = provenance([DATA], [Path("own.py")], {"seed": 1})["inputs"]
    own = {"own.py": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    assert {each["file"]: each["sha256"] for each in found} == known | own
    assert found[-1]["bytes"] == 3
    # where nothing tells what was read, what lies there is named
    (DATA / "x0.npy").write_bytes((DATA / "x1.npy").read_bytes())
    now = known | {str(NTUPLES[1]): sha256(NTUPLES[1])}
    assert digests(provenance([DATA], [], {})) == now
    shutil.rmtree(DATA.parent / FOLDER)
    assert digests(provenance([DATA], [], {})) == now


def digests(found):
    return {each["file"]: each["sha256"] for each in found["inputs"]}


@pytest.mark.parametrize("change", ["vanishes", "grows", "is replaced", "is touched"])
def test_an_input_that_changes_while_it_is_read_leaves_no_result(analysis, monkeypatch, change):
    file = NTUPLES[0]
    real = stage.make_columns

    def disturbed(job, files, output):
        real(job, files, output)
        if change == "vanishes":
            file.unlink()
        elif change == "grows":
            file.write_bytes(file.read_bytes() + b"\0")
        elif change == "is replaced":
            os.replace(NTUPLES[1], file)  # noqa: PTH105 (that of pathlib is the same)
        else:
            os.utime(file, ns=(0, 0))

    monkeypatch.setattr(stage, "make_columns", disturbed)
    settings = data_settings(data_job(analysis, "s"))
    with pytest.raises(
        InputError, match=r"^results/tiny/ntuples/s_0\.root: changed, or gone, whil"
    ):
        run("data", file, NTUPLES[2], "--settings", settings, "--output", "new")
    assert not Path("new").exists()
    assert not Path(FOLDER).exists()
