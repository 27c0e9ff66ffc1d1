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


def add_norm(
    x: Float[Tensor, "rows width"],
    h: Float[Tensor, "rows width"],
    bias: Float[Tensor, " width"],
    factors: Float[Tensor, "rows width"] | None,
    norms: tuple[nn.LayerNorm, nn.LayerNorm],
) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "rows width"]]:
    """Y = x + factors · first norm(h + bias), and second norm(y); differentiable once."""
    first, second = norms
    parameters = torch.stack([bias, first.weight, first.bias, second.weight, second.bias])
    y, out = _AddNorm.apply(x, h, factors, parameters, first.eps)  # type: ignore[no-untyped-call]
    return y, out


def scaled_add(
    x: Float[Tensor, "rows width"],
    h: Float[Tensor, "rows width"],
    bias: Float[Tensor, " width"],
    factors: Float[Tensor, "rows width"] | None,
    scale: Float[Tensor, " width"],
) -> Float[Tensor, "rows width"]:
    """Give scale · x + factors · (h + bias); differentiable once, by all but the factors."""
    output: Tensor = _ScaledAdd.apply(x, h, bias, factors, scale)  # type: ignore[no-untyped-call]
    return output


def gelu_norm(
    x: Float[Tensor, "rows width"],
    bias: Float[Tensor, " width"],
    factors: Float[Tensor, "rows width"] | None,
    norm: nn.LayerNorm,
) -> Float[Tensor, "rows width"]:
    """Layer norm of factors · GELU(x + bias); differentiable once, by all but the factors."""
    output: Tensor = _GeluNorm.apply(  # type: ignore[no-untyped-call]
        x, bias, factors, norm.weight, norm.bias, norm.eps
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


class _GeluNorm(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        bias: Tensor,
        factors: Tensor | None,
        gain: Tensor,
        shift: Tensor,
        eps: float,
    ) -> Tensor:
        output, moments = kernels.gelu_norm(x, bias, factors, gain, shift, eps)
        ctx.save_for_backward(x, bias, factors, gain, moments)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, bias, factors, gain, moments = ctx.saved_tensors
        of_x, of_parameters = kernels.gelu_norm_backward(
            x, bias, factors, gain, moments, gradient.contiguous()
        )
        of_bias, of_gain, of_shift = of_parameters
        return of_x, of_bias, None, of_gain, of_shift, None


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        h: Tensor,
        factors: Tensor | None,
        parameters: Tensor,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        y, out, moments = kernels.add_norm(x, h, factors, parameters, eps)
        ctx.save_for_backward(h, y, factors, parameters, moments)
        return y, out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *of_outputs: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        h, y, factors, parameters, moments = ctx.saved_tensors
        of_y, of_out = (gradient.contiguous() for gradient in of_outputs)
        of_x, of_h, of_parameters = kernels.add_norm_backward(
            h, y, factors, parameters, moments, of_y, of_out
        )
        return of_x, of_h, None, of_parameters, None


class _ScaledAdd(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        h: Tensor,
        bias: Tensor,
        factors: Tensor | None,
        scale: Tensor,
    ) -> Tensor:
        ctx.save_for_backward(x, factors, scale)
        return kernels.scaled_add(x, h, bias, factors, scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, factors, scale = ctx.saved_tensors
        of_x, of_h, of_parameters = kernels.scaled_add_backward(
            x, factors, scale, gradient.contiguous()
        )
        of_bias, of_scale = of_parameters
        return of_x, of_h, of_bias, None, of_scale


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
