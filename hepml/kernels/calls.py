"""Calls of the compiled kernels on tensors. All tensors are contiguous, float32 and on the CPU."""

import ctypes
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hepml.kernels.library import kernels

_COUNT = ctypes.c_int64


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
        *((name, _COUNT) for name in ("jets", "heads", "depth", "line")),
        *((name, _COUNT) for name in ("bias_jet", "bias_head", "bias_row")),
        ("scale", ctypes.c_float),
        ("threads", _COUNT),
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
    _library().attention(
        ctypes.byref(_group(jets, width // jets.heads, bias)), *_at(qkv), _start(bias),
        *_at(factors, out, norm),
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
    _library().attention_backward(
        ctypes.byref(_group(jets, depth, bias)), *_at(qkv), _start(bias),
        *_at(factors, norm, gradient, of_qkv, of_bias),
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
    _library().gelu_norm(
        *_at(x, bias, factors, gain, shift), ctypes.c_float(eps), *_sizes(x), _threads(),
        *_at(out, moments),
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
    _library().gelu_norm_backward(
        *_at(x, bias, factors, gain, moments, gradient), *_sizes(x), _threads(),
        *_at(of_x, of_parameters),
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
    _library().add_norm(
        *_at(x, h, factors, parameters), ctypes.c_float(eps), *_sizes(x), _threads(),
        *_at(y, out, moments),
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
    _library().add_norm_backward(
        *_at(h, y, factors, parameters, moments, of_y, of_out), *_sizes(h), _threads(),
        *_at(of_x, of_h, of_parameters),
    )  # fmt: skip
    return of_x, of_h, of_parameters


def row_moments(
    z: Float[Tensor, "rows width"],
    near: Float[Tensor, " width"],
    out: Float[Tensor, "rows width"],
    first: Float[Tensor, " width"],
    second: Float[Tensor, " width"],
) -> None:
    """Put z - near into ``out``; add its sum and that of its square, in double precision."""
    _library().row_moments(
        *_at(z, near), *_sizes(z), _threads(), *_at(out), *_at(first, second, dtype=torch.float64)
    )


def row_gelu(
    z: Float[Tensor, "rows width"],
    factor: Float[Tensor, " width"],
    constant: Float[Tensor, " width"],
    value: Float[Tensor, "rows width"],
    slope: Float[Tensor, "rows width"] | None = None,
) -> None:
    """Put GELU(factor · z + constant) into ``value``, its slope into ``slope``."""
    _library().row_gelu(*_at(z, factor, constant), *_sizes(z), _threads(), *_at(value, slope))


def row_chain(
    gradient: Float[Tensor, "rows width"],
    slope: Float[Tensor, "rows width"],
    z: Float[Tensor, "rows width"],
    out: Float[Tensor, "rows width"],
    first: Float[Tensor, " width"],
    second: Float[Tensor, " width"],
) -> None:
    """Put gradient · slope into ``out``; add its sum and that of its product with z, in double."""
    _library().row_chain(
        *_at(gradient, slope, z),
        *_sizes(z),
        _threads(),
        *_at(out),
        *_at(first, second, dtype=torch.float64),
    )


def row_norm_backward(
    gradient: Float[Tensor, "rows width"],
    z: Float[Tensor, "rows width"],
    factor: Float[Tensor, " width"],
    slope: Float[Tensor, " width"],
    constant: Float[Tensor, " width"],
    out: Float[Tensor, "rows width"],
) -> None:
    """Put factor · gradient + constant - slope · z into ``out``."""
    _library().row_norm_backward(
        *_at(gradient, z, factor, slope, constant), *_sizes(z), _threads(), *_at(out)
    )


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
    _library().pair_table(*_pairs(length, heads, line), *_columns(values), *_at(table))
    return table


def pair_table_backward(
    length: Int[Tensor, " jets"], pairs: int, gradient: Float[Tensor, "jets heads line line"]
) -> Float[Tensor, "pairs heads"]:
    """Gradient of the values, stored head by head."""
    heads, line = gradient.shape[1:3]
    of_values = gradient.new_empty(heads, pairs).T
    _library().pair_table_backward(
        *_pairs(length, heads, line), *_at(gradient), *reversed(_columns(of_values))
    )
    return of_values


def _library() -> ctypes.CDLL:
    library = kernels().library
    if library is None:
        raise RuntimeError(f"kernels: {kernels().description}")
    return library


def _group(jets: Jets, depth: int, bias: Tensor) -> _Jets:
    if bias.stride(3) != 1:
        raise ValueError("attention: rows of the bias must be contiguous")
    strides = [0 if bias.shape[axis] == 1 else bias.stride(axis) for axis in range(3)]
    numbers = (len(jets.length), jets.heads, depth, jets.line, *strides)
    return _Jets(
        jets.first.data_ptr(), jets.length.data_ptr(), *numbers, depth**-0.5, _threads().value
    )


def _threads() -> ctypes.c_int64:
    return _COUNT(torch.get_num_threads())


def _pairs(length: Tensor, heads: int, line: int) -> list[object]:
    numbers = map(_COUNT, (len(length), heads, line))
    return [*_at(length, dtype=torch.int64), *numbers, _threads()]


def _columns(x: Tensor) -> tuple[ctypes.c_void_p, ctypes.c_int64]:
    """Where a tensor begins that is stored column by column, and how far its columns lie apart."""
    if len(x) > 1 and x.stride(0) != 1:
        raise ValueError("kernels: columns must be contiguous")
    return _start(x), _COUNT(x.stride(1))


def _sizes(x: Tensor) -> tuple[ctypes.c_int64, ctypes.c_int64]:
    return _COUNT(x.shape[0]), _COUNT(x.shape[1])


def _at(*tensors: Tensor | None, dtype: torch.dtype = torch.float32) -> list[ctypes.c_void_p]:
    """Where tensors begin; a null pointer for None."""
    for x in tensors:
        if x is not None and not x.is_contiguous():
            raise ValueError("kernels: tensors must be contiguous")
    return [_start(x, dtype) for x in tensors]


def _start(x: Tensor | None, dtype: torch.dtype = torch.float32) -> ctypes.c_void_p:
    if x is not None and x.dtype != dtype:
        raise TypeError(f"kernels: a tensor is {x.dtype} and should be {dtype}")
    return ctypes.c_void_p(None if x is None else x.data_ptr())
