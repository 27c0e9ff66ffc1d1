"""Parts of attention blocks that a CPU computes in one pass, with their gradients."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hepml import kernels


def attention(
    qkv: Float[Tensor, "tokens three_widths"],
    bias: Float[Tensor, " jets #heads #line line"],
    factors: Float[Tensor, "jets heads line line"] | None,
    jets: kernels.Jets,
) -> Float[Tensor, "tokens width"]:
    """See :func:`hepml.kernels.attention`; differentiable once, by ``qkv`` and ``bias``."""
    mixed: Tensor = _Attention.apply(qkv, bias, factors, jets)  # type: ignore[no-untyped-call]
    return mixed


def norm_linear(
    x: Float[Tensor, "rows width"], norm: nn.LayerNorm, linear: nn.Linear
) -> Float[Tensor, "rows outputs"]:
    """Linear layer of a layer norm; differentiable once."""
    output: Tensor = _NormLinear.apply(  # type: ignore[no-untyped-call]
        x, norm.weight, norm.bias, linear.weight, linear.bias, norm.eps
    )
    return output


def residual_steps(
    x: Float[Tensor, "rows width"],
    mixed: Float[Tensor, "rows width"],
    drops: kernels.Drops,
    parameters: kernels.BlockParameters,
    eps: float,
) -> Float[Tensor, "rows width"]:
    """See :func:`hepml.kernels.residual_steps`; differentiable once, by all but the drops."""
    keep = torch.is_grad_enabled()
    output: Tensor = _ResidualSteps.apply(  # type: ignore[no-untyped-call]
        x, mixed, drops, eps, keep, *parameters.all()
    )
    return output


def pair_table(
    values: Float[Tensor, "pairs heads"], length: Int[Tensor, " jets"], line: int
) -> Float[Tensor, "jets heads line line"]:
    """See :func:`hepml.kernels.pair_table`; differentiable once, by ``values``."""
    table: Tensor = _PairTable.apply(values, length, line)  # type: ignore[no-untyped-call]
    return table


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        qkv: Tensor,
        bias: Tensor,
        factors: Tensor | None,
        jets: kernels.Jets,
    ) -> Tensor:
        mixed, norm = kernels.attention(jets, qkv, bias, factors)
        ctx.save_for_backward(qkv, bias, factors, norm)
        ctx.jets = jets
        return mixed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        qkv, bias, factors, norm = ctx.saved_tensors
        of_qkv, of_bias = kernels.attention_backward(
            ctx.jets, qkv, bias, factors, norm, gradient.contiguous(), ctx.needs_input_grad[1]
        )
        return of_qkv, of_bias, None, None


class _NormLinear(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        gain: Tensor,
        shift: Tensor,
        weight: Tensor,
        bias: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(x, gain, shift, weight)
        ctx.eps = eps
        return kernels.norm_linear(x, (gain, shift), weight, bias, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, gain, shift, weight = ctx.saved_tensors
        of_x, (of_weight, of_bias, of_gain, of_shift) = kernels.norm_linear_backward(
            x, (gain, shift), weight, ctx.eps, gradient.contiguous()
        )
        return of_x, of_gain, of_shift, of_weight, of_bias, None


class _ResidualSteps(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        mixed: Tensor,
        drops: kernels.Drops,
        eps: float,
        keep: bool,
        *parameters: Tensor,
    ) -> Tensor:
        block = kernels.BlockParameters(*parameters)
        output, kept = kernels.residual_steps(x, mixed, drops, block, eps, keep)
        ctx.save_for_backward(x, mixed, *parameters)
        ctx.drops, ctx.eps, ctx.kept = drops, eps, kept
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, mixed, *parameters = ctx.saved_tensors
        block = kernels.BlockParameters(*parameters)
        of_x, of_mixed, of_parameters = kernels.residual_steps_backward(
            x, mixed, ctx.drops, block, ctx.eps, ctx.kept, gradient.contiguous()
        )
        return of_x, of_mixed, None, None, None, *of_parameters


class _PairTable(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, length: Tensor, line: int) -> Tensor:  # noqa: ANN401
        ctx.save_for_backward(length)
        ctx.pairs = len(values)
        return kernels.pair_table(length, line, values.T.contiguous().T)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN401
        (length,) = ctx.saved_tensors
        return kernels.pair_table_backward(length, ctx.pairs, gradient.contiguous()), None, None
