"""Layers of :mod:`hepml.models.rows` with their gradients, a cacheful of rows at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hepml import kernels
from hepml.models.batch_norm import Total, combined

_ROWS = 4096  # of 64 float32: a megabyte
_NARROW = 16


@dataclass(frozen=True)
class Batch:
    """Rows of this process, rows in all, and what sums over the processes, if there are several."""

    here: int
    rows: int
    total: Total | None

    def sum(self, x: Tensor) -> Tensor:
        """The sum of a tensor over the processes."""
        return x if self.total is None else self.total(x)


@dataclass(frozen=True)
class Sums:
    """Sums over the rows of gradients after a batch norm, and of their products with its input."""

    gradient: Tensor
    product: Tensor

    def add(self, gradient: Tensor, z: Tensor) -> None:
        """Add some rows."""
        self.gradient.add_(gradient.sum(0))
        self.product.add_((gradient * z).sum(0))


class First:
    """The first layer: output of its batch norm straight from the normalised input.

    Args:
        x: input with mean 0 and variance 1 in each column.
        batch: its rows.
        input_gain: of the norm before the layer.
        parameters: of the layer.
        eps: of its norm.
    """

    def __init__(
        self,
        x: Tensor,
        batch: Batch,
        input_gain: Tensor,
        parameters: tuple[Tensor, ...],
        eps: float,
    ) -> None:
        self.weight, _, gain, self.shift = parameters
        self.x, self.input_gain = x, input_gain
        self.matrix = self.weight * input_gain
        # in double precision, because logarithms of the same pair are nearly parallel
        with_x = self.matrix.double() @ (batch.sum(x.double().T @ x.double()) / batch.rows)
        self.with_x = with_x.to(x.dtype)  # mean product of output and input
        self.variance = (with_x * self.matrix).sum(1).to(x.dtype)
        self.deviation = (self.variance + eps).sqrt()
        self.factor = gain / self.deviation
        self._folded = (self.matrix * self.factor[:, None]).T.contiguous()
        self._one = torch.ones_like(self.shift)

    def gelu(self, rows: slice) -> Tensor:
        """Output of the layer."""
        return gelu(self.x[rows] @ self._folded, self._one, self.shift)

    def gelu_and_slope(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Output of the layer, and its slope by what stands before the GELU."""
        return gelu_and_slope(self.x[rows] @ self._folded, self._one, self.shift)

    def no_sums(self) -> Sums:
        """Sums over no rows."""
        return Sums(torch.zeros_like(self.shift), self.x.new_zeros(self.matrix.shape[::-1]))

    def before_gelu(
        self, sums: Sums, gradient: Tensor, slope: Tensor, rows: slice, out: Tensor
    ) -> None:
        """Take a gradient from behind the GELU to before it; add it to the sums."""
        torch.mul(gradient, slope, out=out)
        sums.gradient.add_(out.sum(0))
        sums.product.addmm_(self.x[rows].T, out)

    def gradients(self, sums: Sums) -> list[Tensor]:
        """Gradients of the input norm and the layer; the norm's chain rule is linear in a row."""
        with_x = sums.product.T
        of_gain = (with_x * self.matrix).sum(1) / self.deviation
        slope = of_gain / self.deviation
        of_matrix = self.factor[:, None] * (with_x - slope[:, None] * self.with_x)
        of_input_gain = (self.weight * of_matrix).sum(0)
        of_weight = of_matrix * self.input_gain
        # a norm takes away any constant before it
        nothing = torch.zeros_like(of_input_gain), torch.zeros_like(of_gain)
        return [of_input_gain, nothing[0], of_weight, nothing[1], of_gain, sums.gradient]


class Kept:
    """A later layer: output z of its linear part, less a constant, and what its norm makes of it.

    Args:
        before: chunks of the layer's input.
        batch: their rows.
        parameters: of the layer.
        eps: of its norm.
    """

    def __init__(
        self, before: Iterable[Tensor], batch: Batch, parameters: tuple[Tensor, ...], eps: float
    ) -> None:
        self.weight, bias, gain, shift = parameters
        self.batch = batch
        self.z = empty(batch.here, len(bias), like=bias)
        near = torch.zeros_like(bias)
        sums = self.no_sums()
        for chunk, chosen in zip(before, chunks(batch.here), strict=True):
            if chosen.start == 0:  # moments are exact only of what is near zero
                near = (chunk @ self.weight.T).mean(0)
            _keep(chunk @ self.weight.T, near, self.z[chosen], sums)
        here = max(1, batch.here)
        mean = sums.gradient / here
        variance = (sums.product / here - mean.square()).clamp_(min=0)
        if batch.total is not None:  # what is near differs between the processes
            of_all = combined(batch.here, mean + near, variance, batch.total)
            mean, variance = of_all.mean - near, of_all.variance
        self.mean, self.variance = mean.to(bias), variance.to(bias)
        self.full_mean = self.mean + near + bias
        self.deviation = (self.variance + eps).sqrt()
        self.factor = gain / self.deviation
        self._constant = shift - self.mean * self.factor

    def gelu(self, rows: slice) -> Tensor:
        """Output of the layer."""
        return gelu(self.z[rows], self.factor, self._constant)

    def gelu_and_slope(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Output of the layer, and its slope by what stands before the GELU."""
        return gelu_and_slope(self.z[rows], self.factor, self._constant)

    def no_sums(self) -> Sums:
        """Sums over no rows, in double precision."""
        nothing = self.z.new_zeros(2, self.z.shape[1], dtype=torch.float64)
        return Sums(*nothing)

    def before_gelu(
        self, sums: Sums, gradient: Tensor, slope: Tensor, rows: slice, out: Tensor
    ) -> None:
        """Take a gradient from behind the GELU to before it; add it to the sums."""
        z = self.z[rows]
        if _fit(gradient, slope, z, out):
            kernels.row_chain(gradient, slope, z, out, sums.gradient, sums.product)
        else:
            sums.add(torch.mul(gradient, slope, out=out), z)


class Backward:
    """Gradients from behind a batch norm to the input of its layer, chunk by chunk.

    Before the norm they are (g - mean(g) - ẑ mean(g ẑ)) · gain/deviation.

    Args:
        layer: whose.
        gradient: g, after the norm.
        sums: of all rows.
    """

    def __init__(self, layer: Kept, gradient: Tensor, sums: Sums) -> None:
        self._layer, self._gradient = layer, gradient
        of_gain = (sums.product - layer.mean * sums.gradient) / layer.deviation
        self.of_gain, self.of_shift = of_gain.to(layer.mean), sums.gradient.to(layer.mean)
        self.of_weight = torch.zeros_like(layer.weight)
        # those of this process are summed later; what reaches the input depends on all rows
        of_gain, of_shift = layer.batch.sum(torch.stack([self.of_gain, self.of_shift]))
        rows = layer.batch.rows
        self._slope = layer.factor * of_gain / (rows * layer.deviation)
        self._constant = layer.mean * self._slope - layer.factor * of_shift / rows

    def through(self, rows: slice, before: Tensor) -> Tensor:
        """Gradient of the layer's input ``before``; adds up that of the weight."""
        gradient, z = self._gradient[rows], self._layer.z[rows]
        if _fit(gradient, z):
            of_z = torch.empty_like(z)
            kernels.row_norm_backward(
                gradient, z, self._layer.factor, self._slope, self._constant, of_z
            )
        else:
            of_z = torch.addcmul(self._constant, gradient, self._layer.factor)
            of_z.addcmul_(z, self._slope, value=-1)
        self.of_weight.addmm_(of_z.T, before)
        return of_z @ self._layer.weight

    def gradients(self) -> list[Tensor]:
        """Of the layer's parameters; the norm takes away any bias."""
        return [self.of_weight, torch.zeros_like(self.of_gain), self.of_gain, self.of_shift]


def through_gelu(
    layer: First | Kept, sums: Sums, rows: slice, behind: Backward | Tensor, out: Tensor
) -> None:
    """Gradient of some rows between batch norm and GELU into ``out``, and into the sums."""
    value, slope = layer.gelu_and_slope(rows)
    gradient = behind[rows] if isinstance(behind, Tensor) else behind.through(rows, value)
    layer.before_gelu(sums, gradient, slope, rows, out)


def gelu(z: Tensor, factor: Tensor, constant: Tensor) -> Tensor:
    """GELU(factor · z + constant)."""
    if _fit(z):
        value = torch.empty_like(z)
        kernels.row_gelu(z, factor, constant, value)
        return value
    return torch.ops.aten.gelu_(torch.addcmul(constant, z, factor))


def gelu_and_slope(z: Tensor, factor: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """GELU(factor · z + constant), and its slope by factor · z + constant."""
    if _fit(z):
        value, slope = torch.empty_like(z), torch.empty_like(z)
        kernels.row_gelu(z, factor, constant, value, slope)
        return value, slope
    normal = torch.addcmul(constant, z, factor)
    return functional.gelu(normal), torch.ops.aten.gelu_backward(torch.ones_like(z), normal)


def outputs(layer: First | Kept, rows: int) -> Iterator[Tensor]:
    """Output of the GELU, chunk by chunk."""
    return (layer.gelu(chunk) for chunk in chunks(rows))


def empty(rows: int, width: int, like: Tensor) -> Tensor:
    """Room for the output of a layer.

    A narrow one is stored column by column: BLAS makes a few long rows four times as fast as many
    short ones.
    """
    narrow = width < _NARROW
    return like.new_empty(width, rows).T if narrow else like.new_empty(rows, width)


def chunks(rows: int) -> Iterator[slice]:
    """So many rows, a cacheful at a time."""
    return (slice(first, min(first + _ROWS, rows)) for first in range(0, rows, _ROWS))


def _keep(z: Tensor, near: Tensor, out: Tensor, sums: Sums) -> None:
    """Put z less what is near it into ``out``; add that and its square."""
    if _fit(z, out):
        kernels.row_moments(z, near, out, sums.gradient, sums.product)
    else:
        sums.add(torch.sub(z, near, out=out), out)


def _fit(*tensors: Tensor) -> bool:
    """Whether kernels take these rows."""
    return all(x.is_contiguous() for x in tensors) and kernels.fit_for_rows(*tensors)
