"""Where networks compute, and whose code makes them."""

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch

from hepml.errors import InputError
from hepml.models.own import Factory
from hepml.training.cards import Card, locks_folder, take_card

_mine: list[Card] = []  # at most one: the card of this process is free when it has ended


@dataclass(frozen=True)
class Runtime:
    """How stored networks are used.

    Attributes:
        device: where they compute.
        factory: what makes them, if they are a user's own.
    """

    device: torch.device
    factory: Factory | None = None


def choose_device(name: str, report: Callable[[str], None]) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

    Of several GPUs the process takes one for as long as it lives; it waits if others have all.
    Under torchrun it takes that of its number, without asking.

    Args:
        name: what was asked for.
        report: is told of a wait.

    Raises:
        InputError: if a GPU was asked for and there is none: never silently the CPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "--device cuda: PyTorch sees no GPU here (check CUDA_VISIBLE_DEVICES and that torch "
            "was installed with CUDA); use --device auto or cpu"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and "LOCAL_RANK" in os.environ:
        return _own_card()
    if name == "cpu" or torch.cuda.device_count() == 1:  # as batch systems give
        return torch.device(name)
    if not _mine:
        _mine.append(take_card(_names(), locks_folder(), report))
    torch.cuda.set_device(_mine[0].index)  # where torch puts what is sent to no GPU in particular
    return torch.device("cuda", _mine[0].index)


def _names() -> list[str]:
    """UUIDs of the GPUs: the numbers depend on CUDA_VISIBLE_DEVICES."""
    numbers = range(torch.cuda.device_count())
    return [str(torch.cuda.get_device_properties(number).uuid) for number in numbers]


def _own_card() -> torch.device:
    """The GPU of a process that torchrun started, from now on its only one."""
    rank, cards = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if rank >= cards:
        raise InputError(
            f"torchrun started {os.environ['LOCAL_WORLD_SIZE']} processes here, where PyTorch sees "
            f"{cards} GPUs; give --nproc-per-node {cards}, or --device cpu"
        )
    torch.cuda.set_device(rank)
    return torch.device("cuda", rank)
