"""Chunks of rows through all steps of a block, against PyTorch's modules in double precision."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from hepml import kernels
from hepml.kernels import compiled
from hepml.models.attention import Block, BlockShape
from hepml.models.dropout import Dropout

CHUNK = 96  # rows that go through the steps together
SHAPES = {
    "small": BlockShape(width=24, heads=3, expansion=1),
    "less than a panel": BlockShape(width=8, heads=2, expansion=3),
    "published": BlockShape(width=128, heads=8, expansion=4),
}


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def threads(request, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: request.param)


@pytest.fixture
def wide_registers(monkeypatch, tmp_path):
    """The tiles for AVX-512, with whatever instructions this processor has."""
    used = [path for path in compiled._SOURCES if path.stem in {"residual", "projection"}]
    monkeypatch.setattr(compiled, "_SOURCES", used)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "c++ -D__AVX512F__")
    compiled.kernels.cache_clear()
    yield
    compiled.kernels.cache_clear()


def block(shape, dropout=0.0):
    """A block whose parameters are all different."""
    torch.manual_seed(shape.width)
    made = Block(shape, Dropout(dropout))
    for name, parameter in made.named_parameters():
        if parameter.dim() == 1:
            nn.init.normal_(parameter, mean=0.0 if name.endswith("bias") else 1.0, std=0.3)
    return made


def gradients(module, run, inputs, weight):
    """Output, and gradients of a weighted sum of it by the inputs and the parameters."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    module.zero_grad()
    output = run(module, *leaves)
    (output * weight).sum().backward()
    parameters = [p.grad for p in module.parameters() if p.grad is not None]
    return output.detach(), [x.grad for x in leaves] + parameters


def compare(module, run, inputs, outputs):
    """One run with kernels, and one in double precision, which they do not take."""
    weight = torch.randn(len(inputs[0]), outputs)
    got, slopes = gradients(module, run, inputs, weight)
    exact = copy.deepcopy(module).double()
    doubles = [x.double() for x in inputs]
    expected, exact_slopes = gradients(exact, run, doubles, weight.double())
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)
    assert len(slopes) == len(exact_slopes)
    for a, b in zip(slopes, exact_slopes, strict=True):
        # a sum over rows is rounded like its largest terms
        largest = b.abs().max().item() if b.numel() else 0.0
        torch.testing.assert_close(a.double(), b, rtol=0, atol=2e-6 * max(1.0, largest))


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("rows", [0, 1, 37, CHUNK, 3 * CHUNK + 5])
def test_residual_steps(shape, rows):
    module = block(shape)
    x, mixed = torch.randn(2, rows, shape.width)
    compare(module, lambda m, *inputs: m.residual_steps(*inputs), (x, mixed), shape.width)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("rows", [0, 1, 37, CHUNK, 3 * CHUNK + 5])
def test_queries_keys_and_values_of_a_norm(shape, rows):
    module = block(shape)
    x = 3 + torch.randn(rows, shape.width)
    compare(module, lambda m, x: m.normed_qkv(x), (x,), 3 * shape.width)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("rows", [0, 1, 37, 3 * CHUNK + 5])
@pytest.mark.parametrize("widths", [(4, 64, 64, 64, 8), (4, 8, 4), (3, 1), (17, 33, 40)])
def test_layers_with_gelu(widths, rows):
    layers = [nn.Linear(a, b) for a, b in itertools.pairwise(widths)]
    x = torch.randn(rows, widths[0])
    expected = x.double()
    for layer in copy.deepcopy(layers):
        expected = functional.gelu(layer.double()(expected))
    pairs = [(layer.weight.detach(), layer.bias.detach()) for layer in layers]
    got = kernels.gelu_layers(x, pairs)
    torch.testing.assert_close(got.double(), expected.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("wide_registers")
def test_wide_tiles():
    for shape in SHAPES.values():  # compiled once
        module = block(shape)
        x, mixed = torch.randn(2, CHUNK + 5, shape.width)
        compare(module, lambda m, *inputs: m.residual_steps(*inputs), (x, mixed), shape.width)
        compare(module, lambda m, x: m.normed_qkv(x), (x,), 3 * shape.width)


def test_three_uses_of_dropout(monkeypatch):
    """Each with factors of its own: the drops of both runs are made the same."""
    drops, uses = {}, {}

    def factors(_, wanted, dtype=torch.float32):
        place = (tuple(wanted), uses.setdefault(tuple(wanted), 0))
        uses[tuple(wanted)] += 1
        if place not in drops:
            drops[place] = (torch.rand(wanted) > 0.3) / 0.7
        return drops[place].to(dtype)

    def run(module, *inputs):
        uses.clear()
        return module.residual_steps(*inputs)

    monkeypatch.setattr(Dropout, "factors", factors)
    module = block(BlockShape(width=24, heads=3, expansion=2), dropout=0.3)
    x, mixed = torch.randn(2, CHUNK + 7, 24)
    compare(module, run, (x, mixed), 24)
    assert len(drops) == 3


def test_without_gradients_nothing_is_kept():
    module = block(SHAPES["small"])
    x, mixed = torch.randn(2, 11, 24)
    with torch.no_grad():
        plain = module.residual_steps(x, mixed)
    torch.testing.assert_close(plain, module.residual_steps(x, mixed), rtol=0, atol=0)


def test_rows_do_not_know_each_other():
    """A row that is not a number spoils no other, whatever chunk it is in."""
    module = block(SHAPES["published"])
    x, mixed = torch.randn(2, 2 * CHUNK + 3, 128)
    expected = module.residual_steps(x, mixed).detach()
    x[7] = torch.nan
    got = module.residual_steps(x, mixed).detach()
    assert got.isnan().any(1).nonzero().flatten().tolist() == [7]
    others = torch.arange(len(x)) != 7
    torch.testing.assert_close(got[others], expected[others], rtol=0, atol=0)


def test_other_layouts_are_refused():
    x = torch.randn(8, 8)
    with pytest.raises(ValueError, match="contiguous"):
        kernels.norm_linear(x.T, (x[0], x[0]), x, x[0], 1e-5)
