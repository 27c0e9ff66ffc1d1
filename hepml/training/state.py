"""State of a training as bytes and back, and the parts of it that PyTorch does not name.

Numbers and structure are JSON, which keeps floats bit for bit, and tensors safetensors: reading
them runs no code.
"""

import json
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from hepml.models.dropout import Dropout

State = dict[str, Any]
_TREE = "tree"  # name of the JSON among the tensors, which have numbers


@runtime_checkable
class Keeper(Protocol):
    """Keeps what a training needs to go on after it was interrupted."""

    def found(self) -> State | None:
        """Where an earlier training stopped; None to begin."""

    def between(self, state: Callable[[], State]) -> None:
        """May keep the state between two steps, and may raise to stop there."""

    def after_epoch(self, state: Callable[[], State]) -> None:
        """May keep the state between two epochs, and may raise to stop there."""


class NoKeeper:
    """Keeps nothing."""

    def found(self) -> State | None:
        """Begin."""
        return None

    def between(self, state: Callable[[], State]) -> None:
        """Go on."""

    def after_epoch(self, state: Callable[[], State]) -> None:
        """Go on."""


def pack(state: State) -> bytes:
    """A state as bytes: nested dicts, lists and tuples of numbers, strings, None and tensors."""
    tensors: dict[str, Tensor] = {}

    def plain(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, Tensor):
            name = str(len(tensors))
            # a copy: networks may hold one tensor under two names, which safetensors refuses
            tensors[name] = value.detach().cpu().clone(memory_format=torch.contiguous_format)
            return {"tensor": name}
        if isinstance(value, dict):
            return {"dict": [[plain(key), plain(each)] for key, each in value.items()]}
        if isinstance(value, tuple):
            return {"tuple": [plain(each) for each in value]}
        if isinstance(value, list):
            return [plain(each) for each in value]
        return value

    text = json.dumps(plain(state)).encode()
    return save({**tensors, _TREE: torch.frombuffer(bytearray(text), dtype=torch.uint8)})


def unpack(content: bytes) -> State:
    """The state that :func:`pack` made bytes of; tensors are on the CPU."""
    tensors = load(content)

    def lively(value: Any) -> Any:  # noqa: ANN401
        if isinstance(value, list):
            return [lively(each) for each in value]
        if not isinstance(value, dict):
            return value
        ((kind, inside),) = value.items()
        if kind == "tensor":
            return tensors[inside]
        if kind == "tuple":
            return tuple(lively(each) for each in inside)
        return {lively(key): lively(each) for key, each in inside}

    return lively(json.loads(tensors[_TREE].numpy().tobytes()))


def random_state(device: torch.device) -> State:
    """State of the generators that networks draw from on a device."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random(state: State, device: torch.device) -> None:
    """Draw what would have been drawn next."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)


def dropouts(network: nn.Module) -> list[list[float]]:
    """Places in the pool that each of our dropouts would take next; no part of its weights."""
    return [each.places for each in network.modules() if isinstance(each, Dropout)]


def restore_dropouts(network: nn.Module, places: list[list[float]]) -> None:
    """Give each of our dropouts the places that it would have taken next."""
    ours = [each for each in network.modules() if isinstance(each, Dropout)]
    for each, of_it in zip(ours, places, strict=True):
        each.places = of_it


def restore_optimiser(optimiser: torch.optim.Optimizer, state: State) -> None:
    """Take up the state of an optimiser of the same parameters."""
    optimiser.load_state_dict(state)
    for parameter, kept in optimiser.state.items():
        for name, value in kept.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                # the order of its numbers in memory is that of the parameter's: fused steps
                # walk through both side by side
                kept[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
