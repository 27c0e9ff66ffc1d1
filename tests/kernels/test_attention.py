"""Attention in one pass is attention as it is written down, jet by jet in double precision."""

import pytest
import torch

from hepml import kernels
from hepml.models import fused

LENGTHS = torch.tensor([1, 2, 7, 8, 9, 13, 16, 21, 24])
HEADS, LINE = 3, 24


def inputs(depth, broadcast=False):
    """Queries, keys and values; a bias that hides places without a particle; dropout."""
    torch.manual_seed(depth)
    jets = kernels.Jets(LENGTHS.cumsum(0) - LENGTHS, LENGTHS, HEADS, LINE)
    qkv = 2 * torch.randn(int(LENGTHS.sum()), 3 * HEADS * depth)
    axes = (1, 1) if broadcast else (HEADS, LINE)
    bias = 3 * torch.randn(len(LENGTHS), *axes, LINE)
    bias.masked_fill_((torch.arange(LINE) >= LENGTHS[:, None])[:, None, None], -torch.inf)
    factors = (torch.rand(len(LENGTHS), HEADS, LINE, LINE) > 0.3) / 0.7
    return jets, qkv, bias, factors


def by_jets(jets, qkv, bias, factors):
    """Equation (1) of arXiv:1706.03762, one jet after another."""
    mixed = []
    for jet, x in enumerate(qkv.double().split(jets.length.tolist())):
        n = len(x)
        q, k, v = x.unflatten(1, (3, HEADS, -1)).permute(1, 2, 0, 3)
        full = bias[jet].double().expand(HEADS, LINE, LINE)[:, :n, :n]
        p = (q @ k.mT / q.shape[-1] ** 0.5 + full).softmax(-1)
        if factors is not None:
            p = p * factors[jet, :, :n, :n]
        mixed.append((p @ v).transpose(0, 1).flatten(1))
    return torch.cat(mixed)


@pytest.mark.parametrize("depth", [8, 16, 24])
@pytest.mark.parametrize("dropped", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_output_and_gradients(depth, dropped, threads, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    jets, qkv, bias, factors = inputs(depth)
    factors = factors if dropped else None
    ours = [x.clone().requires_grad_() for x in (qkv, bias)]
    plain = [x.clone().requires_grad_() for x in (qkv, bias)]
    got, expected = fused.attention(*ours, factors, jets), by_jets(jets, *plain, factors)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)
    weight = torch.randn_like(got)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    for a, b in zip(ours, plain, strict=True):
        # scores of 30 are rounded to 2e-6, and so are what exponentials of them make
        largest = b.grad.abs().max().item()
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=5e-6 * largest)


def test_one_bias_for_all_heads_and_rows():
    jets, qkv, bias, _ = inputs(8, broadcast=True)
    got, _ = kernels.attention(jets, qkv, bias, None)
    expected = by_jets(jets, qkv, bias, None)
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


def test_scores_far_apart_give_the_largest_its_value():
    """exp(-1000) is 0 and its gradients are 0, not NaN."""
    jets, qkv, bias, _ = inputs(8)
    mine = bias.clone()
    mine[..., 0] = 1000
    got, _ = kernels.attention(jets, qkv, mine, None)
    firsts = torch.repeat_interleave(jets.first, LENGTHS)
    torch.testing.assert_close(got, qkv[firsts, 2 * HEADS * 8 :], rtol=0, atol=1e-6)
    leaf = qkv.clone().requires_grad_()
    fused.attention(leaf, mine.requires_grad_(), None, jets).sum().backward()
    assert leaf.grad.isfinite().all()
    assert mine.grad.isfinite().all()


def test_what_is_not_a_number_stays_so():
    """A training that diverges is told by its loss; a kernel must not hide it."""
    jets, qkv, bias, _ = inputs(8)
    qkv[5] = torch.nan  # a particle of the third jet
    got, _ = kernels.attention(jets, qkv, bias, None)
    affected = got.isnan().all(1)
    assert affected.nonzero().flatten().tolist() == list(range(3, 10))


def test_other_types_and_layouts_are_refused():
    jets, qkv, bias, _ = inputs(8)
    with pytest.raises(TypeError, match=r"float64 and should be torch\.float32"):
        kernels.attention(jets, qkv.double(), bias, None)
    with pytest.raises(ValueError, match="contiguous"):
        kernels.attention(jets, qkv.T.contiguous().T, bias, None)
