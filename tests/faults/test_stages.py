"""Each stage is killed, robbed of its input or of its disk: a message or a retry, nothing faked."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from hepml.artifacts import remove
from hepml.records import FOLDER

DISTURBED = ("simulate s", "data s", "merge-data", "train 1", "score s", "infer", "plot")


@pytest.fixture(name="place")
def _place(finished, tmp_path, monkeypatch):
    """A copy of the undisturbed folder to work in."""
    folder, steps, digests, _ = finished
    shutil.copytree(folder, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return steps, digests


def forget(path):
    """Remove a result and the record of it."""
    remove(path)
    (path.parent / FOLDER / f"{path.name}.json").unlink()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("name", DISTURBED)
def test_a_killed_stage_leaves_no_result_and_runs_again(place, finished, name, end):
    """Shortly before its end, where most is at stake."""
    steps, digests = place
    step, seconds = steps[name], finished[-1][name]
    forget(step.output)
    process = step.start()
    time.sleep((0.9 if end == signal.SIGKILL else 0.7) * seconds)
    process.send_signal(end)
    process.communicate()
    if step.output.exists():  # it was quicker this time, or all but its record was done
        assert step.digest() == digests[name]
    code, said = step.run()
    assert code == 0, said
    assert step.digest() == digests[name]


@pytest.fixture(name="small_disk")
def _small_disk():
    """Mounts a disk of some kilobytes."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk of a few kilobytes")
    mounted = []

    def mount(path, size):
        path.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("no tmpfs can be mounted here")
        mounted.append(path)

    yield mount
    for path in mounted:
        subprocess.run(["umount", str(path)], check=True)


@pytest.mark.parametrize("name", DISTURBED)
def test_a_full_disk_is_one_message(place, small_disk, name):
    steps, digests = place
    step = steps[name]
    forget(step.output)
    folder = Path("small").absolute()
    small_disk(folder, "4k")
    there = folder / step.output.name
    command = tuple(str(there) if word == str(step.output) else word for word in step.command)
    code, said = type(step)(command, there).run()
    assert code == 1
    assert "Traceback" not in said
    assert "No space left on device" in said
    assert "make room" in said
    assert not there.exists()
    assert [path.name for path in folder.iterdir() if path.name != FOLDER] == []
    assert step.run()[0] == 0
    assert step.digest() == digests[name]


@pytest.mark.parametrize("name", DISTURBED)
def test_a_file_where_a_folder_is_wanted_is_one_message(place, name):
    """Stands for a folder that cannot be written to, which root could write to nevertheless."""
    steps, _ = place
    step = steps[name]
    Path("blocked").write_text("in the way")
    there = Path("blocked") / step.output.name
    command = tuple(str(there) if word == str(step.output) else word for word in step.command)
    code, said = type(step)(command, there).run()
    assert code == 1
    assert "Traceback" not in said
    assert "blocked" in said


@pytest.fixture(name="no_master")
def _no_master(tmp_path):
    """What makes a command subject to permissions; root writes where others may not."""
    if os.geteuid() != 0:
        return ()
    setpriv = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o555)
    touch = ["touch", folder / "a"]
    if not shutil.which("setpriv") or subprocess.run([*setpriv, "true"], check=False).returncode:
        pytest.skip("root's power to write everywhere cannot be taken away here (setpriv)")
    assert subprocess.run([*setpriv, *touch], capture_output=True, check=False).returncode == 1
    return setpriv


@pytest.mark.parametrize("name", DISTURBED)
def test_a_folder_that_may_not_be_written_to_is_one_message(place, no_master, name):
    steps, digests = place
    step = steps[name]
    forget(step.output)
    folder = Path("theirs").absolute()
    folder.mkdir(mode=0o555)
    there = folder / step.output.name
    command = tuple(str(there) if word == str(step.output) else word for word in step.command)
    code, said = type(step)(command, there).run(under=no_master)
    assert code == 1, said
    assert "Traceback" not in said
    assert "Permission denied" in said
    assert "make the folder writable" in said
    assert list(folder.iterdir()) == []
    assert step.run()[0] == 0
    assert step.digest() == digests[name]


@pytest.mark.parametrize("part", [0.3, 0.9, 0.999])
def test_a_truncated_ntuple_is_named(place, part):
    steps, digests = place
    ntuple, step = steps["simulate s"].output, steps["data s"]
    content = ntuple.read_bytes()
    forget(step.output)
    ntuple.write_bytes(content[: int(part * len(content))])
    code, said = step.run()
    assert code == 1
    assert said.startswith(f"hepml: {ntuple}: ")
    assert "truncated" in said
    assert "Traceback" not in said
    assert not step.output.exists()
    ntuple.write_bytes(content)
    assert step.run()[0] == 0
    assert step.digest() == digests["data s"]


def test_a_bit_flip_in_a_network_is_noticed(place):
    """safetensors has no checksum: the record beside it has."""
    steps, _ = place
    weights = steps["train 0"].output / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-3] ^= 1
    weights.write_bytes(content)
    from hepml.explain import explain

    assert explain(weights, None).altered
