"""Calls of the kernels for very many rows; all tensors are float32 and on the CPU, but for sums."""

import torch
from jaxtyping import Float
from torch import Tensor

from hepml.kernels.pointers import at, loaded, sizes, threads


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
