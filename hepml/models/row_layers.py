"""Layers of :mod:`hepml.models.rows` with their gradients, a cacheful of rows at a time."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

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

    def normal(self, rows: slice) -> Tensor:
        """Output of the batch norm."""
        return torch.addmm(self.shift, self.x[rows], self._folded)

    def no_sums(self) -> Sums:
        """Sums over no rows."""
        return Sums(torch.zeros_like(self.shift), self.x.new_zeros(self.matrix.shape[::-1]))

    def collect(self, sums: Sums, gradient: Tensor, rows: slice) -> None:
        """Add rows to the sums."""
        sums.gradient.add_(gradient.sum(0))
        sums.product.addmm_(self.x[rows].T, gradient)

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
        near, first, second = (torch.zeros_like(bias) for _ in range(3))
        for chunk, chosen in zip(before, chunks(batch.here), strict=True):
            if chosen.start == 0:  # moments are exact only of what is near zero
                near = (chunk @ self.weight.T).mean(0)
            z = torch.addmm(-near, chunk, self.weight.T, out=self.z[chosen])
            first += z.sum(0)
            second += (z * z).sum(0)
        here = max(1, batch.here)
        self.mean = first / here
        self.variance = (second / here - self.mean.square()).clamp_(min=0)
        if batch.total is not None:  # what is near differs between the processes
            mean = self.mean.double() + near
            of_all = combined(batch.here, mean, self.variance, batch.total)
            self.mean, self.variance = (of_all.mean - near).to(near), of_all.variance.to(near)
        self.full_mean = self.mean + near + bias
        self.deviation = (self.variance + eps).sqrt()
        self.factor = gain / self.deviation
        self._constant = shift - self.mean * self.factor

    def normal(self, rows: slice) -> Tensor:
        """Output of the batch norm."""
        return torch.addcmul(self._constant, self.z[rows], self.factor)

    def no_sums(self) -> Sums:
        """Sums over no rows."""
        return Sums(torch.zeros_like(self.mean), torch.zeros_like(self.mean))

    def collect(self, sums: Sums, gradient: Tensor, rows: slice) -> None:
        """Add rows to the sums."""
        sums.gradient.add_(gradient.sum(0))
        sums.product.add_((gradient * self.z[rows]).sum(0))


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
        self.of_gain = (sums.product - layer.mean * sums.gradient) / layer.deviation
        self.of_shift = sums.gradient
        self.of_weight = torch.zeros_like(layer.weight)
        # those of this process are summed later; what reaches the input depends on all rows
        of_gain, of_shift = layer.batch.sum(torch.stack([self.of_gain, self.of_shift]))
        rows = layer.batch.rows
        self._slope = layer.factor * of_gain / (rows * layer.deviation)
        self._constant = layer.mean * self._slope - layer.factor * of_shift / rows

    def through(self, rows: slice, before: Tensor) -> Tensor:
        """Gradient of the layer's input ``before``; adds up that of the weight."""
        of_z = torch.addcmul(self._constant, self._gradient[rows], self._layer.factor)
        of_z.addcmul_(self._layer.z[rows], self._slope, value=-1)
        self.of_weight.addmm_(of_z.T, before)
        return of_z @ self._layer.weight

    def gradients(self) -> list[Tensor]:
        """Of the layer's parameters; the norm takes away any bias."""
        return [self.of_weight, torch.zeros_like(self.of_gain), self.of_gain, self.of_shift]


def through_gelu(layer: First | Kept, sums: Sums, rows: slice, behind: Backward | Tensor) -> Tensor:
    """Gradient of some rows between batch norm and GELU, added to the sums."""
    normal = layer.normal(rows)
    if isinstance(behind, Tensor):
        gradient = torch.ops.aten.gelu_backward(behind[rows], normal)
    else:
        gradient = behind.through(rows, functional.gelu(normal))
        torch.ops.aten.gelu_backward.grad_input(gradient, normal, grad_input=gradient)
    layer.collect(sums, gradient, rows)
    return gradient


def outputs(layer: First | Kept, rows: int) -> Iterator[Tensor]:
    """Output of the GELU, chunk by chunk."""
    return (torch.ops.aten.gelu_(layer.normal(chunk)) for chunk in chunks(rows))


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
