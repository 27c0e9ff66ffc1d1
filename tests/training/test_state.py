import math
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from hepml.config import Training
from hepml.models.dropout import Dropout
from hepml.training.batches import Batches
from hepml.training.loop import fit
from hepml.training.state import pack, unpack


def test_a_state_comes_back_bit_for_bit():
    shared = torch.arange(6.0).view(2, 3)
    tensors = {
        "transposed": shared.T,
        "again": shared,
        "scalar": torch.tensor(3, dtype=torch.int64),
        "empty": torch.zeros(0, 4, dtype=torch.float64),
        "half": torch.tensor([1.5, -0.0, math.inf], dtype=torch.bfloat16),
        "generator": torch.get_rng_state(),
    }
    numbers = [0.1, math.pi, -0.0, 5e-324, 1 / 3, 2**60, None, True, "μ {tensor}"]
    state = {"tensors": tensors, "numbers": numbers, 7: {"betas": (0.9, 0.999), "dict": {}}}
    back = unpack(pack(state))
    for name, tensor in tensors.items():
        assert back["tensors"][name].dtype is tensor.dtype
        assert torch.equal(back["tensors"][name], tensor)
    assert [(type(x), str(x)) for x in back["numbers"]] == [(type(x), str(x)) for x in numbers]
    assert back[7] == state[7]
    assert isinstance(back[7]["betas"], tuple)


def test_what_is_neither_number_nor_tensor_is_refused():
    with pytest.raises(TypeError, match="not JSON serializable"):
        pack({"path": os})


class Counted:
    """Two variables of each event, made when they are asked for; knows how often that was."""

    def __init__(self):
        self.taken = 0

    def take(self, events):
        self.taken += len(events)
        return (torch.from_numpy(np.stack([np.sin(events), np.cos(events)], 1).astype(np.float32)),)


def events(number):
    label = torch.arange(number) % 2
    return Batches(Counted(), np.arange(number), label.float(), torch.ones(number))


def test_batches_that_are_skipped_are_not_made():
    whole, rest = events(100), events(100)
    all_of_them = list(whole.shuffled(8, torch.Generator().manual_seed(1)))
    some = list(rest.shuffled(8, torch.Generator().manual_seed(1), skip=5))
    assert len(all_of_them) == len(some) + 5
    for one, other in zip(all_of_them[5:], some, strict=True):
        assert torch.equal(one[0][0], other[0][0])
        assert torch.equal(one[1], other[1])
    assert rest.source.taken == sum(len(label) for _, label, _ in some) < 70


class Dropping(nn.Module):
    """A network with our dropout, which carries places of its pool from batch to batch."""

    def __init__(self):
        super().__init__()
        self.first, self.last, self.dropout = nn.Linear(2, 8), nn.Linear(8, 1), Dropout(0.3)

    def forward(self, x):
        if self.dropout.active:
            self.dropout.redraw(2**12)
        return self.last(self.dropout(self.dropout(torch.relu(self.first(x)))))[:, 0]


class StopError(Exception):
    pass


class Memory:
    """Keeps the state after a step or validation batch, as bytes, and stops there."""

    def __init__(self, at, content=None):
        self.left, self.content = at, content

    def found(self):
        return unpack(self.content) if self.content else None

    def between(self, state):
        self.left -= 1
        if self.left == 0:
            self.content = pack(state())
            raise StopError

    def after_epoch(self, state):
        self.between(state)


def trained(keeper=None, precision="fp32"):
    torch.manual_seed(1)
    network = Dropping()
    settings = Training(epochs=3, patience=2, batch_size=16, average=0.5, precision=precision)
    result = fit(network, events(100), events(60), settings, lambda _: None, keeper)
    history = [replace(epoch, events_per_second=0.0) for epoch in result.history]
    return network.state_dict(), history, result


def test_stopped_anywhere_it_goes_on_bit_for_bit():
    """7 steps, a validation batch and the end of the epoch: 9 places to stop in each epoch."""
    weights, history, _ = trained()
    for place in range(1, 28, 2):
        keeper = Memory(place)
        with pytest.raises(StopError):
            trained(keeper)
        torch.rand(5)  # another process draws other numbers
        again, same_history, result = trained(Memory(0, keeper.content))
        assert same_history == history
        assert result.seconds > 0
        assert all(torch.equal(again[name], weights[name]) for name in weights), place


def test_stopped_again_and_again_it_still_ends():
    weights, history, _ = trained()
    content, stops = None, 0
    while True:
        keeper = Memory(2, content)  # a validation that is stopped begins anew
        try:
            again, same_history, _ = trained(keeper)
            break
        except StopError:
            content, stops = keeper.content, stops + 1
    assert stops >= 27 // 2
    assert same_history == history
    assert all(torch.equal(again[name], weights[name]) for name in weights)
