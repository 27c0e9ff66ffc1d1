import json
import os
import threading
import time

import pytest

from hepml.errors import InputError
from hepml.training.lease import Lease, LostError

ELSEWHERE = {"host": "node7", "space": "", "pid": 7, "started": "1", "token": "x"}


def leave(folder, **holder):
    (folder / "lease.json").write_text(json.dumps(ELSEWHERE | holder))


def own(folder):
    return json.loads((folder / "lease.json").read_text())


def test_a_lease_is_left_as_it_was_found(tmp_path):
    lease = Lease(tmp_path)
    lease.take(lambda _: None)
    lease.require()
    assert own(tmp_path)["pid"] == os.getpid()
    lease.end()
    assert not list(tmp_path.iterdir())


def test_a_living_process_of_this_host_is_not_disturbed(tmp_path):
    lease = Lease(tmp_path)
    lease.take(lambda _: None)
    with pytest.raises(InputError, match=rf"process {os.getpid()} on .* is training this and"):
        Lease(tmp_path).take(lambda _: None)
    lease.require()
    lease.end()


@pytest.mark.parametrize("change", [{"started": "1"}, {"pid": 2**22 + 1}])
def test_a_dead_process_of_this_host_is_not_waited_for(tmp_path, change):
    """Also one whose number another process has now."""
    first = Lease(tmp_path)
    first.take(lambda _: None)
    leave(tmp_path, **(own(tmp_path) | {"token": "y"} | change))
    told = []
    second = Lease(tmp_path)
    second.take(told.append)
    second.require()
    second.end()
    assert not told


@pytest.mark.parametrize("years", [-30, 100])
def test_a_sign_of_life_from_another_host_counts_whatever_its_clock(tmp_path, years):
    leave(tmp_path)
    now = time.time() + years * 3e7
    stop = threading.Event()

    def live():
        beat = 0
        while not stop.wait(0.1):
            beat += 1
            os.utime(tmp_path / "lease.json", (now - beat, now - beat))  # its clock runs backwards

    thread = threading.Thread(target=live)
    thread.start()
    with pytest.raises(InputError, match="process 7 on node7 is training this and alive"):
        Lease(tmp_path, beat=0.1, patience=20.0).take(lambda _: None)
    stop.set()
    thread.join()
    assert own(tmp_path)["token"] == "x"


def test_a_silent_process_of_another_host_is_replaced_and_finds_out(tmp_path):
    first = Lease(tmp_path, beat=0.05)
    first.take(lambda _: None)
    leave(tmp_path, pid=8)  # a process on another host takes it, and dies
    with pytest.raises(LostError, match=r"taken over by process 8 on node7; nothing more"):
        first.require()
    first.end()
    assert own(tmp_path)["pid"] == 8
    second = Lease(tmp_path, beat=0.05, patience=0.3)
    second.take(lambda _: None)
    second.require()
    second.end()


def test_a_holder_gives_signs_of_life(tmp_path):
    lease = Lease(tmp_path, beat=0.02)
    lease.take(lambda _: None)
    file = tmp_path / "lease.json"
    first, until = file.stat().st_mtime_ns, time.monotonic() + 20
    while file.stat().st_mtime_ns == first:
        assert time.monotonic() < until
    lease.end()


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"host": 3}'])
def test_a_damaged_lease_is_nobodys(tmp_path, content):
    (tmp_path / "lease.json").write_text(content)
    lease = Lease(tmp_path)
    lease.take(lambda _: None)
    lease.require()
    lease.end()


def test_a_folder_that_was_removed_is_lost(tmp_path):
    lease = Lease(tmp_path)
    lease.take(lambda _: None)
    (tmp_path / "lease.json").unlink()
    with pytest.raises(LostError, match="another process, which is done with it or removed its"):
        lease.require()
    lease.end()
