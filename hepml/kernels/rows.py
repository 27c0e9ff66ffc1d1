"""Calls of the kernels for very many rows; all tensors are float32 and on the CPU, but for sums."""

import ctypes
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from hepml.kernels.pointers import COUNT, at, loaded, sizes, threads


def row_moments(
    z: Float[Tensor, "rows width"],
    near: Float[Tensor, " width"],
    out: Float[Tensor, "rows width"],
    first: Float[Tensor, " width"],
    second: Float[Tensor, " width"],
) -> None:
    """Put z - near into ``out``; add its sum and that of its square, in double precision."""
    loaded().row_moments(
        *at(z, near), *sizes(z), threads(), *at(out), *at(first, second, dtype=torch.float64)
    )


def row_gelu(
    z: Float[Tensor, "rows width"],
    factor: Float[Tensor, " width"],
    constant: Float[Tensor, " width"],
    value: Float[Tensor, "rows width"],
    slope: Float[Tensor, "rows width"] | None = None,
) -> None:
    """Put GELU(factor · z + constant) into ``value``, its slope into ``slope``."""
    loaded().row_gelu(*at(z, factor, constant), *sizes(z), threads(), *at(value, slope))


def row_chain(
    gradient: Float[Tensor, "rows width"],
    slope: Float[Tensor, "rows width"],
    z: Float[Tensor, "rows width"],
    out: Float[Tensor, "rows width"],
    first: Float[Tensor, " width"],
    second: Float[Tensor, " width"],
) -> None:
    """Put gradient · slope into ``out``; add its sum and that of its product with z, in double."""
    loaded().row_chain(
        *at(gradient, slope, z),
        *sizes(z),
        threads(),
        *at(out),
        *at(first, second, dtype=torch.float64),
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
    loaded().row_norm_backward(
        *at(gradient, z, factor, slope, constant), *sizes(z), threads(), *at(out)
    )


def gelu_layers(
    x: Float[Tensor, "rows before"],
    layers: Sequence[tuple[Tensor, Tensor]],
) -> Float[Tensor, "rows after"]:
    """Linear layers with GELU in turn; the result is stored by columns.

    Args:
        x: input.
        layers: weight (outputs, inputs) and bias of each.
    """
    widths = [x.shape[1], *(len(weight) for weight, _ in layers)]
    output = x.new_empty(widths[-1], len(x))
    weights, biases = (at(*tensors) for tensors in zip(*layers, strict=True))
    loaded().gelu_layers(
        *at(x), COUNT(len(x)), COUNT(len(layers)), (COUNT * len(widths))(*widths),
        *((ctypes.c_void_p * len(layers))(*some) for some in (weights, biases)), threads(),
        *at(output),
    )  # fmt: skip
    return output.T
