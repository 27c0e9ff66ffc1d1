"""Calls of the compiled kernels on tensors. All tensors are contiguous, float32 and on the CPU."""

import ctypes
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hepml.kernels.pointers import COUNT, at, loaded, sizes, start, threads


@dataclass(frozen=True)
class Jets:
    """Jets of a group for attention.

    Attributes:
        first: token of each jet.
        length: particles of each jet.
        heads: of attention.
        line: places in a row of scores, a multiple of 8.
    """

    first: Int[Tensor, " jets"]
    length: Int[Tensor, " jets"]
    heads: int
    line: int


class _Jets(ctypes.Structure):
    _fields_ = [
        ("first", ctypes.c_void_p),
        ("length", ctypes.c_void_p),
        *((name, COUNT) for name in ("jets", "heads", "depth", "line")),
        *((name, COUNT) for name in ("bias_jet", "bias_head", "bias_row")),
        ("scale", ctypes.c_float),
        ("threads", COUNT),
    ]


def attention(
    jets: Jets,
    qkv: Float[Tensor, "tokens three_widths"],
    bias: Float[Tensor, " jets #heads #line line"],
    factors: Float[Tensor, "jets heads line line"] | None,
) -> tuple[Float[Tensor, "tokens width"], Float[Tensor, "tokens heads"]]:
    """softmax(QKᵀ/√d + bias) V of each jet and head, times factors of dropout before V.

    Args:
        jets: of which the tokens are.
        qkv: queries, keys and values side by side.
        bias: -inf where there is no particle; singleton axes stand for all of theirs.
        factors: 0 or 1/(1 - p); None without dropout.

    Returns:
        The result, and the logarithm of the sum of exponentials of each row of scores.
    """
    width = qkv.shape[1] // 3
    out, norm = qkv.new_empty(len(qkv), width), qkv.new_empty(len(qkv), jets.heads)
    loaded().attention(
        ctypes.byref(_group(jets, width // jets.heads, bias)), *at(qkv), start(bias),
        *at(factors, out, norm),
    )  # fmt: skip
    return out, norm


def attention_backward(  # noqa: PLR0913
    jets: Jets,
    qkv: Float[Tensor, "tokens three_widths"],
    bias: Float[Tensor, " jets #heads #line line"],
    factors: Float[Tensor, "jets heads line line"] | None,
    norm: Float[Tensor, "tokens heads"],
    gradient: Float[Tensor, "tokens width"],
    want_bias: bool,
) -> tuple[Tensor, Tensor | None]:
    """Gradients of ``qkv`` and, if wanted, of ``bias``, which then has all its axes."""
    of_qkv = torch.empty_like(qkv)
    of_bias = torch.empty_like(bias) if want_bias else None
    depth = gradient.shape[1] // jets.heads
    loaded().attention_backward(
        ctypes.byref(_group(jets, depth, bias)), *at(qkv), start(bias),
        *at(factors, norm, gradient, of_qkv, of_bias),
    )  # fmt: skip
    return of_qkv, of_bias


def gelu_norm(
    x: Float[Tensor, "rows width"],
    bias: Float[Tensor, " width"],
    factors: Float[Tensor, "rows width"] | None,
    gain: Float[Tensor, " width"],
    shift: Float[Tensor, " width"],
    eps: float,
) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "rows 2"]]:
    """Layer norm of factors · GELU(x + bias); also mean and 1/deviation of each row."""
    out, moments = torch.empty_like(x), x.new_empty(len(x), 2)
    loaded().gelu_norm(
        *at(x, bias, factors, gain, shift), ctypes.c_float(eps), *sizes(x), threads(),
        *at(out, moments),
    )  # fmt: skip
    return out, moments


def gelu_norm_backward(
    x: Float[Tensor, "rows width"],
    bias: Float[Tensor, " width"],
    factors: Float[Tensor, "rows width"] | None,
    gain: Float[Tensor, " width"],
    moments: Float[Tensor, "rows 2"],
    gradient: Float[Tensor, "rows width"],
) -> tuple[Tensor, Float[Tensor, "3 width"]]:
    """Gradients of ``x``, and of ``bias``, ``gain`` and ``shift`` one above another."""
    of_x, of_parameters = torch.empty_like(x), x.new_empty(3, x.shape[1])
    loaded().gelu_norm_backward(
        *at(x, bias, factors, gain, moments, gradient), *sizes(x), threads(),
        *at(of_x, of_parameters),
    )  # fmt: skip
    return of_x, of_parameters


def add_norm(
    x: Float[Tensor, "rows width"],
    h: Float[Tensor, "rows width"],
    factors: Float[Tensor, "rows width"] | None,
    parameters: Float[Tensor, "5 width"],
    eps: float,
) -> tuple[Float[Tensor, "rows width"], Float[Tensor, "rows width"], Float[Tensor, "rows 4"]]:
    """Give y = x + factors · norm(h + bias), norm(y), and what the gradient needs.

    Args:
        x: what is added to.
        h: before bias and the first norm.
        factors: of dropout; None without.
        parameters: bias, gain and shift of the first norm, gain and shift of the second.
        eps: of both norms.
    """
    y, out, moments = torch.empty_like(x), torch.empty_like(x), x.new_empty(len(x), 4)
    loaded().add_norm(
        *at(x, h, factors, parameters), ctypes.c_float(eps), *sizes(x), threads(),
        *at(y, out, moments),
    )  # fmt: skip
    return y, out, moments


def add_norm_backward(  # noqa: PLR0913
    h: Float[Tensor, "rows width"],
    y: Float[Tensor, "rows width"],
    factors: Float[Tensor, "rows width"] | None,
    parameters: Float[Tensor, "5 width"],
    moments: Float[Tensor, "rows 4"],
    of_y: Float[Tensor, "rows width"],
    of_out: Float[Tensor, "rows width"],
) -> tuple[Tensor, Tensor, Float[Tensor, "5 width"]]:
    """Gradients of ``x``, ``h`` and the parameters, from those of both outputs."""
    of_x, of_h, of_parameters = (torch.empty_like(z) for z in (y, h, parameters))
    loaded().add_norm_backward(
        *at(h, y, factors, parameters, moments, of_y, of_out), *sizes(h), threads(),
        *at(of_x, of_h, of_parameters),
    )  # fmt: skip
    return of_x, of_h, of_parameters


def scaled_add(
    x: Float[Tensor, "rows width"],
    h: Float[Tensor, "rows width"],
    bias: Float[Tensor, " width"],
    factors: Float[Tensor, "rows width"] | None,
    scale: Float[Tensor, " width"],
) -> Float[Tensor, "rows width"]:
    """Give scale · x + factors · (h + bias)."""
    out = torch.empty_like(x)
    loaded().scaled_add(*at(x, h, bias, factors, scale), *sizes(x), threads(), *at(out))
    return out


def scaled_add_backward(
    x: Float[Tensor, "rows width"],
    factors: Float[Tensor, "rows width"] | None,
    scale: Float[Tensor, " width"],
    gradient: Float[Tensor, "rows width"],
) -> tuple[Tensor, Tensor, Float[Tensor, "2 width"]]:
    """Gradients of ``x`` and ``h``, and of ``bias`` and ``scale`` one above the other."""
    of_x, of_h, of_parameters = torch.empty_like(x), torch.empty_like(x), x.new_empty(2, len(scale))
    loaded().scaled_add_backward(
        *at(x, factors, scale, gradient), *sizes(x), threads(), *at(of_x, of_h, of_parameters)
    )
    return of_x, of_h, of_parameters


def pair_table(
    length: Int[Tensor, " jets"], line: int, values: Float[Tensor, "pairs heads"]
) -> Float[Tensor, "jets heads line line"]:
    """Symmetric table of each jet and head, -inf in the columns beyond the last particle.

    Args:
        length: particles of each jet.
        line: places in a row of the table.
        values: of each jet the pairs i > j row by row, then of each jet the pairs i = i; stored
            head by head.
    """
    jets, heads = len(length), values.shape[1]
    table = values.new_empty(jets, heads, line, line)
    loaded().pair_table(*_pairs(length, heads, line), *_columns(values), *at(table))
    return table


def pair_table_backward(
    length: Int[Tensor, " jets"], pairs: int, gradient: Float[Tensor, "jets heads line line"]
) -> Float[Tensor, "pairs heads"]:
    """Gradient of the values, stored head by head."""
    heads, line = gradient.shape[1:3]
    of_values = gradient.new_empty(heads, pairs).T
    loaded().pair_table_backward(
        *_pairs(length, heads, line), *at(gradient), *reversed(_columns(of_values))
    )
    return of_values


def _group(jets: Jets, depth: int, bias: Tensor) -> _Jets:
    if bias.stride(3) != 1:
        raise ValueError("attention: rows of the bias must be contiguous")
    strides = [0 if bias.shape[axis] == 1 else bias.stride(axis) for axis in range(3)]
    numbers = (len(jets.length), jets.heads, depth, jets.line, *strides)
    return _Jets(
        jets.first.data_ptr(), jets.length.data_ptr(), *numbers, depth**-0.5, threads().value
    )


def _pairs(length: Tensor, heads: int, line: int) -> list[object]:
    numbers = map(COUNT, (len(length), heads, line))
    return [*at(length, dtype=torch.int64), *numbers, threads()]


def _columns(x: Tensor) -> tuple[ctypes.c_void_p, ctypes.c_int64]:
    """Where a tensor begins that is stored column by column, and how far its columns lie apart."""
    if len(x) > 1 and x.stride(0) != 1:
        raise ValueError("kernels: columns must be contiguous")
    return start(x), COUNT(x.stride(1))
