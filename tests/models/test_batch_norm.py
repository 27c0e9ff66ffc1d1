"""Batch norm of which each process sees a part; processes are imitated here by copies of rows."""

import copy

import pytest
import torch
from torch import nn

from hepml.errors import InputError
from hepml.models.batch_norm import BatchNorm, share_norms
from hepml.models.cnn import Cnn


def alone(x):
    return x


def with_a_twin(x):
    """As if another process had the same rows."""
    return 2 * x


def made(kind, **arguments):
    torch.manual_seed(3)
    norm = kind(5, **arguments).double()
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    return nn.Sequential(nn.Identity(), norm)


def assert_same(one, other):
    for a, b in zip(one.state_dict().items(), other.state_dict().items(), strict=True):
        assert a[0] == b[0]
        torch.testing.assert_close(a[1], b[1])


@pytest.mark.parametrize(
    ("kind", "shape", "arguments"),
    [
        (nn.BatchNorm1d, (7,), {}),
        (nn.BatchNorm2d, (7, 3, 4), {}),
        (nn.BatchNorm3d, (7, 3, 4, 2), {"momentum": None}),
        (nn.BatchNorm1d, (7, 3), {"affine": False}),
        (nn.BatchNorm1d, (7, 3), {"track_running_stats": False}),
        (BatchNorm, (7,), {"eps": 0.1, "momentum": 0.3}),
    ],
)
def test_a_part_gets_what_the_whole_batch_would_give_it(kind, shape, arguments):
    """The batch is twice the same rows, so that one half knows the whole."""
    whole, shared = made(kind, **arguments), made(kind, **arguments)
    share_norms(shared, with_a_twin)
    for _ in range(2):  # the second time with running moments
        x = (3 * torch.randn(shape[0], 5, *shape[1:]).double() + 7).requires_grad_()
        twice = torch.cat([x.detach()] * 2).requires_grad_()
        weight = torch.randn(x.shape).double()
        got, expected = shared(x), whole(twice)
        torch.testing.assert_close(got, expected[: len(x)])
        whole.zero_grad()
        shared.zero_grad()
        (got * weight).sum().backward()
        (expected * torch.cat([weight] * 2)).sum().backward()
        torch.testing.assert_close(x.grad, twice.grad[: len(x)])
        for a, b in zip(shared.parameters(), whole.parameters(), strict=True):
            torch.testing.assert_close(2 * a.grad, b.grad)  # added up over both processes
    assert_same(shared, whole)
    torch.testing.assert_close(shared.eval()(x), whole.eval()(x))


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_take_the_running_moments_as_in_one_process(rows):
    whole, shared = made(BatchNorm), made(BatchNorm)
    share_norms(shared, alone)
    for number in (6, rows):
        x = torch.randn(number, 5).double().requires_grad_()
        y = x.detach().clone().requires_grad_()
        got, expected = shared(x), whole(y)
        torch.testing.assert_close(got, expected)
        got.square().sum().backward()
        expected.square().sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
    assert_same(shared, whole)


def test_a_part_without_rows_takes_part():
    seen = []

    def of_another(x):
        seen.append(x)
        return x + torch.ones_like(x)

    shared = made(nn.BatchNorm1d)
    share_norms(shared, of_another)
    x = torch.empty(0, 5, dtype=torch.double, requires_grad=True)
    shared(x).sum().backward()
    assert len(seen) == 2  # on the way and back, as for everybody else
    assert all(torch.equal(each, torch.zeros_like(each)) for each in seen)


def test_a_network_keeps_its_names_and_parameters():
    network = Cnn([1.0], width=4, stages=2, dropout=0.0)
    before, parameters = list(network.state_dict()), list(map(id, network.parameters()))
    share_norms(network, alone)
    assert list(network.state_dict()) == before
    assert list(map(id, network.parameters())) == parameters
    assert not any(type(module) is nn.BatchNorm2d for module in network.modules())
    copy.deepcopy(network)  # as moving averages are made


def test_a_norm_that_two_layers_have_stays_one():
    norm = nn.BatchNorm1d(2)
    network = nn.ModuleDict({"a": norm, "b": nn.Sequential(norm)})
    share_norms(network, alone)
    assert network["a"] is network["b"][0] is not norm


def test_a_batch_norm_of_somebody_else_is_refused():
    class Mine(nn.BatchNorm1d):
        pass

    network = nn.Sequential(nn.Linear(2, 2), nn.Sequential(Mine(2)))
    with pytest.raises(InputError, match=r"1\.0 is a Mine: of this kind of batch norm several"):
        share_norms(network, alone)
