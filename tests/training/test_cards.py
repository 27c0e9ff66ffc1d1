"""Processes on a machine with several cards: who gets which. No card is needed."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from hepml.errors import InputError
from hepml.training import device
from hepml.training.cards import locks_folder, take_card

# takes a card, says what it is told and gets, and lives until its input ends
TAKER = """
import sys
from pathlib import Path
from hepml.training.cards import take_card
say = lambda line: print(line, flush=True)
card = take_card(sys.argv[2:], Path(sys.argv[1]), say, seconds=0.02)
say(f"card {card.index}")
sys.stdin.read()
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that takes one of the named cards; all are ended after the test."""
    started = []

    def taker(*names):
        process = subprocess.Popen(
            [sys.executable, "-c", TAKER, str(tmp_path / "locks"), *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield taker
    for process in started:
        with process:  # closes its pipes
            process.kill()


def line(process):
    return process.stdout.readline().strip()


def test_two_processes_take_different_cards_and_a_third_waits_and_says_so(start):
    first = start("a", "b")
    assert line(first) == "card 0"
    second = start("a", "b")
    assert line(second) == "card 1"
    third = start("a", "b")
    said = line(third)
    assert said.startswith(
        f"all 2 GPUs are taken by processes {first.pid}, {second.pid}: waiting for one"
    )
    second.stdin.close()  # it ends in peace
    assert line(third) == "GPU 1 is free: going on with it"
    assert line(third) == "card 1"


def test_the_card_of_a_killed_process_is_free_again(start):
    first = start("a", "b")
    assert line(first) == "card 0"
    first.kill()
    first.wait()
    assert line(start("a", "b")) == "card 0"


def test_a_card_is_known_by_its_name_not_by_its_number(start):
    assert line(start("a", "b")) == "card 0"
    # CUDA_VISIBLE_DEVICES=1,0 and =1
    assert line(start("b", "a")) == "card 0"
    assert line(start("a")).startswith("all 1 GPUs are taken")


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file: no lock of a GPU .*File exists.*set TMPDIR"):
        take_card(["a"], tmp_path / "file", print)


def test_a_folder_that_somebody_else_made_is_refused(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "locks").symlink_to(tmp_path / "theirs")
    with pytest.raises(InputError, match="locks: made by somebody else"):
        take_card(["a"], tmp_path / "locks", print)
    assert not list((tmp_path / "theirs").iterdir())


@pytest.fixture
def cards(monkeypatch, tmp_path):
    """PyTorch as on a machine with so many cards; gives those that were made the current one."""
    current = []

    def seen(number):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: number > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: number)
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda index: SimpleNamespace(uuid="ab"[index])
        )
        monkeypatch.setattr(torch.cuda, "set_device", current.append)
        monkeypatch.setattr(device, "locks_folder", lambda: tmp_path / "locks")
        monkeypatch.setattr(device, "_mine", [])
        return current

    yield seen
    for card in device._mine:
        os.close(card.lock)


def test_of_several_cards_torch_gets_the_free_one_and_keeps_it(cards, start):
    current = cards(2)
    assert line(start("a")) == "card 0"  # another process has the first one
    chosen = [device.choose_device(name, pytest.fail) for name in ("cuda", "auto")]
    assert chosen == [torch.device("cuda", 1)] * 2
    assert current == [1, 1]


def test_a_single_card_is_taken_without_a_lock(cards, tmp_path):
    cards(1)
    assert device.choose_device("auto", pytest.fail) == torch.device("cuda")
    assert device.choose_device("cpu", pytest.fail) == torch.device("cpu")
    assert not (tmp_path / "locks").exists()


def test_locks_of_each_user_lie_apart(monkeypatch):
    first = locks_folder()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    assert locks_folder().name == "hepml-cards-12345"
    assert locks_folder().parent == first.parent
