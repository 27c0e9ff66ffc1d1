"""Particles of many jets as a padded table."""

import pytest
import torch

from hepml.models.packing import padded


def test_padding_by_hand():
    packed = torch.arange(1.0, 13.0).reshape(6, 2)
    table, real = padded(packed, torch.tensor([1, 0, 3, 2]))
    none = [0.0, 0.0]
    assert table.tolist() == [
        [[1, 2], none, none],
        [none, none, none],
        [[3, 4], [5, 6], [7, 8]],
        [[9, 10], [11, 12], none],
    ]
    assert real.tolist() == [
        [True, False, False],
        [False, False, False],
        [True, True, True],
        [True, True, False],
    ]
    assert torch.equal(table[real], packed)  # back again


def test_gradients_reach_every_particle():
    packed = torch.randn(5, 3, requires_grad=True)
    table, _ = padded(packed, torch.tensor([2, 3]))
    table.square().sum().backward()
    torch.testing.assert_close(packed.grad, 2 * packed.detach())


@pytest.mark.parametrize("jets", [0, 2])
def test_without_particles_there_is_one_place(jets):
    table, real = padded(torch.empty(0, 4), torch.zeros(jets, dtype=torch.int64))
    assert table.shape == (jets, 1, 4)
    assert not real.any()
