"""Where networks compute, and whose code makes them."""

import os
from dataclasses import dataclass

import torch

from hepml.errors import InputError
from hepml.models.own import Factory


@dataclass(frozen=True)
class Runtime:
    """How stored networks are used.

    Attributes:
        device: where they compute.
        factory: what makes them, if they are a user's own.
    """

    device: torch.device
    factory: Factory | None = None


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device.

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
    return _own_card() if name == "cuda" and "LOCAL_RANK" in os.environ else torch.device(name)


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
