"""What kernels compute element by element, against PyTorch in double precision."""

import pytest
import torch
from torch.nn import functional

from hepml import kernels
from hepml.models import fused


def gelu_of(x):
    value, slope = torch.empty_like(x), torch.empty_like(x)
    one = torch.ones(x.shape[1])
    kernels.row_gelu(x, one, torch.zeros_like(one), value, slope)
    return value, slope


def test_gelu_and_its_slope_over_all_magnitudes():
    """Error of the cumulative distribution 1.5e-7 (Abramowitz & Stegun, 7.1.26), times |x|."""
    x = torch.cat([torch.linspace(-15, 15, 80001), torch.tensor([-1e30, -0.0, 0.0, 1e-40, 1e30])])
    x = x[: len(x) // 8 * 8].view(-1, 8)
    exact = x.double().requires_grad_()
    expected = functional.gelu(exact)
    expected.sum().backward()
    value, slope = gelu_of(x)
    error = (value - expected).abs() / x.double().abs().clamp(min=1)
    assert error.max() < 3e-7
    assert (slope - exact.grad).abs().max() < 5e-7


def test_gelu_keeps_what_is_not_a_number():
    x = torch.zeros(1, 8)
    x[0, 3] = torch.nan
    assert gelu_of(x)[0].isnan().nonzero().tolist() == [[0, 3]]


@pytest.mark.parametrize("threads", [1, 3])
def test_sums_over_many_rows_are_precise(threads, monkeypatch):
    """A million rows around 1: single precision would lose four digits."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    z = 1 + 1e-3 * torch.randn(2**20, 8)
    first, second = torch.zeros(2, 8, dtype=torch.float64)
    out = torch.empty_like(z)
    kernels.row_moments(z, torch.full((8,), 0.5), out, first, second)
    torch.testing.assert_close(out, z - 0.5)
    exact = out.double()
    torch.testing.assert_close(first, exact.sum(0), rtol=1e-7, atol=0)
    torch.testing.assert_close(second, exact.square().sum(0), rtol=1e-7, atol=0)


@pytest.mark.parametrize("threads", [1, 3])
def test_chain_rule_of_rows(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(2)
    gradient, slope, z = torch.randn(3, 101, 16)
    first, second = torch.ones(2, 16, dtype=torch.float64)  # are added to
    out = torch.empty_like(z)
    kernels.row_chain(gradient, slope, z, out, first, second)
    torch.testing.assert_close(out, gradient * slope)
    product = gradient.double() * slope
    torch.testing.assert_close(first, 1 + product.sum(0), rtol=1e-6, atol=1e-5)
    torch.testing.assert_close(second, 1 + (product * z).sum(0), rtol=1e-6, atol=1e-5)


def test_backwards_through_a_norm_of_rows():
    torch.manual_seed(3)
    gradient, z = torch.randn(2, 11, 8)
    factor, slope, constant = torch.randn(3, 8)
    out = torch.empty_like(z)
    kernels.row_norm_backward(gradient, z, factor, slope, constant, out)
    torch.testing.assert_close(out, gradient * factor + constant - z * slope)


@pytest.mark.parametrize("threads", [1, 2])
def test_table_of_pairs_is_symmetric_and_so_is_its_gradient(threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    length, line, heads = torch.tensor([1, 3, 0, 5]), 8, 2
    pairs = int((length * (length + 1) // 2).sum())
    values = torch.randn(heads, pairs).T.requires_grad_()
    table = fused.pair_table(values, length, line)
    expected = torch.zeros(len(length), heads, line, line)
    of_values = torch.zeros(pairs, heads)
    weight = torch.randn_like(table)
    below, diagonal = 0, int((length * (length - 1) // 2).sum())
    for jet, n in enumerate(length.tolist()):
        expected[jet, :, :, n:] = -torch.inf
        for i in range(n):
            for j in range(i):
                expected[jet, :, i, j] = expected[jet, :, j, i] = values[below]
                of_values[below] = weight[jet, :, i, j] + weight[jet, :, j, i]
                below += 1
            expected[jet, :, i, i] = values[diagonal]
            of_values[diagonal] = weight[jet, :, i, i]
            diagonal += 1
    torch.testing.assert_close(table, expected)
    torch.where(expected.isinf(), 0, table * weight).sum().backward()
    torch.testing.assert_close(values.grad, of_values)


def test_rows_that_end_within_a_register_are_refused():
    z = torch.ones(2, 12)
    with pytest.raises(ValueError, match="rows of 12 numbers, no multiple of 8"):
        kernels.row_gelu(z, z[0], z[0], torch.empty_like(z))
