"""Calls of the compiled kernels on tensors. All tensors are contiguous, float32 and on the CPU."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, fields

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


@dataclass(frozen=True)
class BlockParameters:
    """Parameters of the residual steps of an attention block, and of their norms.

    Weights have a row per output; ``head_scale`` has a number per column.
    """

    out: Float[Tensor, "width width"]
    out_bias: Float[Tensor, " width"]
    head_scale: Float[Tensor, " width"]
    gain: Float[Tensor, " width"]
    shift: Float[Tensor, " width"]
    gain2: Float[Tensor, " width"]
    shift2: Float[Tensor, " width"]
    widen: Float[Tensor, "hidden width"]
    widen_bias: Float[Tensor, " hidden"]
    gain3: Float[Tensor, " hidden"]
    shift3: Float[Tensor, " hidden"]
    narrow: Float[Tensor, "width hidden"]
    narrow_bias: Float[Tensor, " width"]
    scale: Float[Tensor, " width"]

    def all(self) -> tuple[Tensor, ...]:
        """In the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))


class _Parameters(ctypes.Structure):
    _fields_ = [(field.name, ctypes.c_void_p) for field in fields(BlockParameters)]


@dataclass(frozen=True)
class Drops:
    """Factors of dropout in the residual steps of a block, 0 or 1/(1 - p); None without."""

    of_mixed: Float[Tensor, "rows width"] | None = None
    of_hidden: Float[Tensor, "rows hidden"] | None = None
    of_output: Float[Tensor, "rows width"] | None = None


class _Shape(ctypes.Structure):
    _fields_ = [
        *((name, COUNT) for name in ("rows", "width", "hidden")),
        ("eps", ctypes.c_float),
        ("threads", COUNT),
        *((field.name, ctypes.c_void_p) for field in fields(Drops)),
    ]


@dataclass(frozen=True)
class Kept:
    """What the gradients of the residual steps need.

    Attributes:
        projected: what attention found, behind its projection.
        hidden: the hidden layer before the GELU.
        moments: mean and 1/deviation of what the three norms got.
    """

    projected: Float[Tensor, "rows width"]
    hidden: Float[Tensor, "rows hidden"]
    moments: Float[Tensor, "rows 6"]


def residual_steps(
    x: Float[Tensor, "rows width"],
    mixed: Float[Tensor, "rows width"],
    drops: Drops,
    parameters: BlockParameters,
    eps: float,
    keep: bool,
) -> tuple[Float[Tensor, "rows width"], Kept | None]:
    """Add what attention found, then what the network makes of the sum.

    y = x + drop(norm(head_scale · (out mixed))), and scale · y + drop(narrow norm(drop(GELU(widen
    norm(y))))), each product with its bias (arXiv:2110.09456; arXiv:2202.03772, Fig. 3).

    Args:
        x: tokens.
        mixed: what attention found for each.
        drops: factors of dropout.
        parameters: of the block.
        eps: of all three norms.
        keep: whether gradients will be asked for.
    """
    output, kept = torch.empty_like(x), None
    if keep:
        hidden = x.new_empty(len(x), len(parameters.widen))
        kept = Kept(torch.empty_like(x), hidden, x.new_empty(len(x), 6))
    there = (kept.projected, kept.hidden, kept.moments) if kept else (None, None, None)
    loaded().residual_steps(
        ctypes.byref(_shape(x, drops, parameters, eps)), ctypes.byref(_pointers(parameters)),
        *at(x, mixed, output, *there),
    )  # fmt: skip
    return output, kept


def residual_steps_backward(  # noqa: PLR0913
    x: Float[Tensor, "rows width"],
    mixed: Float[Tensor, "rows width"],
    drops: Drops,
    parameters: BlockParameters,
    eps: float,
    kept: Kept,
    gradient: Float[Tensor, "rows width"],
) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Gradients of ``x``, ``mixed`` and each of the parameters."""
    of_x, of_mixed = torch.empty_like(x), torch.empty_like(x)
    of_parameters = x.new_empty(sum(parameter.numel() for parameter in parameters.all()))
    loaded().residual_steps_backward(
        ctypes.byref(_shape(x, drops, parameters, eps)), ctypes.byref(_pointers(parameters)),
        *at(x, mixed, kept.projected, kept.hidden, kept.moments, gradient),
        *at(of_x, of_mixed, of_parameters),
    )  # fmt: skip
    return of_x, of_mixed, _split(of_parameters, parameters.all())


def norm_linear(
    x: Float[Tensor, "rows width"],
    norm: tuple[Float[Tensor, " width"], Float[Tensor, " width"]],
    weight: Float[Tensor, "outputs width"],
    bias: Float[Tensor, " outputs"],
    eps: float,
) -> Float[Tensor, "rows outputs"]:
    """Linear layer of the layer norm of ``x`` with gain and shift ``norm``."""
    output = x.new_empty(len(x), len(weight))
    loaded().norm_linear(
        *at(x, *norm, weight, bias), ctypes.c_float(eps), *sizes(x), COUNT(len(weight)), threads(),
        *at(output),
    )  # fmt: skip
    return output


def norm_linear_backward(
    x: Float[Tensor, "rows width"],
    norm: tuple[Float[Tensor, " width"], Float[Tensor, " width"]],
    weight: Float[Tensor, "outputs width"],
    eps: float,
    gradient: Float[Tensor, "rows outputs"],
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of ``x``, and of weight, bias, gain and shift."""
    of_x, like = torch.empty_like(x), (weight, weight[:, 0], *norm)
    of_parameters = x.new_empty(sum(parameter.numel() for parameter in like))
    loaded().norm_linear_backward(
        *at(x, *norm, weight), ctypes.c_float(eps), *at(gradient), *sizes(x), COUNT(len(weight)),
        threads(), *at(of_x, of_parameters),
    )  # fmt: skip
    return of_x, _split(of_parameters, like)


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


def _shape(x: Tensor, drops: Drops, parameters: BlockParameters, eps: float) -> _Shape:
    numbers = (*x.shape, len(parameters.widen), eps, threads().value)
    return _Shape(*numbers, *at(drops.of_mixed, drops.of_hidden, drops.of_output))


def _pointers(parameters: BlockParameters) -> _Parameters:
    return _Parameters(*at(*parameters.all()))


def _split(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Parts of a tensor in the shapes of others."""
    parts = flat.split([x.numel() for x in like])
    return [part.view(x.shape) for part, x in zip(parts, like, strict=True)]
