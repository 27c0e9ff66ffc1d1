"""Linear layer, batch norm and GELU in turn over very many rows, a cacheful at a time on a CPU.

A batch of jets has a thousand pairs per jet. Layer by layer that makes twenty tensors of 40 MB, and
a CPU spends most of the time on fetching fresh memory for them. Here only the outputs of the linear
layers are kept; all else is made chunk by chunk and made again where it is needed. Of the first
layer nothing is kept: the moments of its output follow from those of its few inputs.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_ROWS = 4096  # of 64 float32: a megabyte
_NARROW = 16


@dataclass(frozen=True)
class Layer:
    """A linear layer and the batch norm after it."""

    linear: Any  # nn.Linear
    norm: Any  # nn.BatchNorm1d

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weight and bias, gain and shift."""
        return self.linear.weight, self.linear.bias, self.norm.weight, self.norm.bias


def train_rows(
    x: Float[Tensor, "rows before"], input_norm: nn.BatchNorm1d, layers: Sequence[Layer]
) -> Float[Tensor, "rows after"]:
    """Batch norm of the input, then linear layers, batch norms and GELUs in turn.

    All norms take the moments of these rows, which running moments follow. Differentiable once, by
    the parameters; x is data.

    Args:
        x: input, at least two rows.
        input_norm: applied first.
        layers: in turn.
    """
    norms = [input_norm, *(layer.norm for layer in layers)]
    parameters = [p for layer in layers for p in layer.parameters]
    gain, shift = input_norm.weight, input_norm.bias
    with torch.autocast(x.device.type, enabled=False):
        output, *moments = _Rows.apply(  # type: ignore[no-untyped-call]
            x, input_norm.eps, gain, shift, *parameters
        )
    unbias = len(x) / (len(x) - 1)
    for norm, mean, variance in zip(norms, moments[::2], moments[1::2], strict=True):
        _follow(norm, mean, variance * unbias)
    return output


def infer_rows(
    x: Float[Tensor, "rows before"], input_norm: nn.BatchNorm1d, layers: Sequence[Layer]
) -> Float[Tensor, "rows after"]:
    """The same with running moments, where each norm is a part of the linear layer before it."""
    factor, shift = _affine(input_norm)
    x = torch.addcmul(shift, x, factor)
    folded = []
    for layer in layers:
        factor, shift = _affine(layer.norm)
        weight = layer.linear.weight * factor[:, None]
        folded.append((weight.T, torch.addcmul(shift, layer.linear.bias, factor)))
    output = _empty(len(x), len(folded[-1][1]), like=x)
    with torch.autocast(x.device.type, enabled=False):
        for rows in _chunks(len(x)):
            chunk = x[rows]
            for weight, bias in folded[:-1]:
                chunk = torch.ops.aten.gelu_(torch.addmm(bias, chunk, weight))
            weight, bias = folded[-1]
            torch.ops.aten.gelu_(torch.addmm(bias, chunk, weight, out=output[rows]))
    return output


@dataclass(frozen=True)
class _Sums:
    """Sums over the rows of gradients after a batch norm, and of their products with its input."""

    gradient: Tensor
    product: Tensor


class _First:
    """The first layer: output of its batch norm straight from the normalised input.

    Args:
        x: input with mean 0 and variance 1 in each column.
        input_gain: of the norm before the layer.
        parameters: of the layer.
        eps: of its norm.
    """

    def __init__(
        self, x: Tensor, input_gain: Tensor, parameters: tuple[Tensor, ...], eps: float
    ) -> None:
        self.weight, _, gain, self.shift = parameters
        self.x, self.input_gain = x, input_gain
        self.matrix = self.weight * input_gain
        # in double precision, because logarithms of the same pair are nearly parallel
        with_x = self.matrix.double() @ (x.double().T @ x.double() / len(x))
        self.with_x = with_x.to(x.dtype)  # mean product of output and input
        self.variance = (with_x * self.matrix).sum(1).to(x.dtype)
        self.deviation = (self.variance + eps).sqrt()
        self.factor = gain / self.deviation
        self._folded = (self.matrix * self.factor[:, None]).T.contiguous()

    def normal(self, rows: slice) -> Tensor:
        """Output of the batch norm."""
        return torch.addmm(self.shift, self.x[rows], self._folded)

    def no_sums(self) -> _Sums:
        """Sums over no rows."""
        return _Sums(torch.zeros_like(self.shift), self.x.new_zeros(self.matrix.shape[::-1]))

    def collect(self, sums: _Sums, gradient: Tensor, rows: slice) -> None:
        """Add rows to the sums."""
        sums.gradient.add_(gradient.sum(0))
        sums.product.addmm_(self.x[rows].T, gradient)

    def gradients(self, sums: _Sums) -> list[Tensor]:
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


class _Kept:
    """A later layer: output z of its linear part, less a constant, and what its norm makes of it.

    Args:
        before: chunks of the layer's input.
        rows: in all.
        parameters: of the layer.
        eps: of its norm.
    """

    def __init__(
        self, before: Iterable[Tensor], rows: int, parameters: tuple[Tensor, ...], eps: float
    ) -> None:
        self.weight, bias, gain, shift = parameters
        self.z = _empty(rows, len(bias), like=bias)
        near, first, second = (torch.zeros_like(bias) for _ in range(3))
        for chunk, chosen in zip(before, _chunks(rows), strict=True):
            if chosen.start == 0:  # moments are exact only of what is near zero
                near = (chunk @ self.weight.T).mean(0)
            z = torch.addmm(-near, chunk, self.weight.T, out=self.z[chosen])
            first += z.sum(0)
            second += (z * z).sum(0)
        self.mean = first / rows
        self.full_mean = self.mean + near + bias
        self.variance = (second / rows - self.mean.square()).clamp_(min=0)
        self.deviation = (self.variance + eps).sqrt()
        self.factor = gain / self.deviation
        self._constant = shift - self.mean * self.factor

    def normal(self, rows: slice) -> Tensor:
        """Output of the batch norm."""
        return torch.addcmul(self._constant, self.z[rows], self.factor)

    def no_sums(self) -> _Sums:
        """Sums over no rows."""
        return _Sums(torch.zeros_like(self.mean), torch.zeros_like(self.mean))

    def collect(self, sums: _Sums, gradient: Tensor, rows: slice) -> None:
        """Add rows to the sums."""
        sums.gradient.add_(gradient.sum(0))
        sums.product.add_((gradient * self.z[rows]).sum(0))


class _Backward:
    """Gradients from behind a batch norm to the input of its layer, chunk by chunk.

    Before the norm they are (g - mean(g) - ẑ mean(g ẑ)) · gain/deviation.

    Args:
        layer: whose.
        gradient: g, after the norm.
        sums: of all rows.
    """

    def __init__(self, layer: _Kept, gradient: Tensor, sums: _Sums) -> None:
        self._layer, self._gradient = layer, gradient
        self.of_gain = (sums.product - layer.mean * sums.gradient) / layer.deviation
        self.of_shift = sums.gradient
        self.of_weight = torch.zeros_like(layer.weight)
        rows = len(gradient)
        self._slope = layer.factor * self.of_gain / (rows * layer.deviation)
        self._constant = layer.mean * self._slope - layer.factor * sums.gradient / rows

    def through(self, rows: slice, before: Tensor) -> Tensor:
        """Gradient of the layer's input ``before``; adds up that of the weight."""
        of_z = torch.addcmul(self._constant, self._gradient[rows], self._layer.factor)
        of_z.addcmul_(self._layer.z[rows], self._slope, value=-1)
        self.of_weight.addmm_(of_z.T, before)
        return of_z @ self._layer.weight

    def gradients(self) -> list[Tensor]:
        """Of the layer's parameters; the norm takes away any bias."""
        return [self.of_weight, torch.zeros_like(self.of_gain), self.of_gain, self.of_shift]


class _Rows(torch.autograd.Function):
    """Returns the output, then mean and variance of input and each layer (not differentiable)."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        eps: float,
        gain: Tensor,
        shift: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        variance, mean = torch.var_mean(x, 0, correction=0)
        fours = list(zip(*[iter(parameters)] * 4, strict=True))
        first = _First((x - mean) / (variance + eps).sqrt(), gain, fours[0], eps)
        moments = [mean, variance, torch.addmv(fours[0][1], first.weight, shift), first.variance]
        later: list[_Kept] = []
        last: _First | _Kept = first
        for four in fours[1:]:
            last = _Kept(_outputs(last, len(x)), len(x), four, eps)
            later.append(last)
            moments += [last.full_mean, last.variance]
        ctx.save_for_backward(gain, shift, *parameters)
        ctx.layers = first, later
        ctx.mark_non_differentiable(*moments)
        return torch.cat(list(_outputs(last, len(x)))), *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        _ = ctx.saved_tensors  # raises if parameters changed since
        first, later = ctx.layers
        of_parameters: list[Tensor] = []
        behind: _Backward | None = None
        for layer in reversed(later):
            sums, gradient = layer.no_sums(), torch.empty_like(layer.z)
            for rows in _chunks(len(grad)):
                gradient[rows] = _through_gelu(layer, sums, rows, behind or grad)
            if behind:
                of_parameters = behind.gradients() + of_parameters
            behind = _Backward(layer, gradient, sums)
        sums = first.no_sums()
        for rows in _chunks(len(grad)):
            _through_gelu(first, sums, rows, behind or grad)
        if behind:
            of_parameters = behind.gradients() + of_parameters
        return None, None, *first.gradients(sums), *of_parameters


def _through_gelu(
    layer: _First | _Kept, sums: _Sums, rows: slice, behind: _Backward | Tensor
) -> Tensor:
    """Gradient of some rows between batch norm and GELU, added to the sums."""
    normal = layer.normal(rows)
    if isinstance(behind, Tensor):
        gradient = torch.ops.aten.gelu_backward(behind[rows], normal)
    else:
        gradient = behind.through(rows, functional.gelu(normal))
        torch.ops.aten.gelu_backward.grad_input(gradient, normal, grad_input=gradient)
    layer.collect(sums, gradient, rows)
    return gradient


def _outputs(layer: _First | _Kept, rows: int) -> Iterator[Tensor]:
    """Output of the GELU, chunk by chunk."""
    return (torch.ops.aten.gelu_(layer.normal(chunk)) for chunk in _chunks(rows))


def _empty(rows: int, width: int, like: Tensor) -> Tensor:
    """Room for the output of a layer.

    A narrow one is stored column by column: BLAS makes a few long rows four times as fast as many
    short ones.
    """
    narrow = width < _NARROW
    return like.new_empty(width, rows).T if narrow else like.new_empty(rows, width)


def _chunks(rows: int) -> Iterator[slice]:
    return (slice(first, min(first + _ROWS, rows)) for first in range(0, rows, _ROWS))


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Factor and shift that a batch norm amounts to outside training."""
    mean, variance = _running(norm)
    factor = norm.weight / (variance + norm.eps).sqrt()
    return factor, norm.bias - mean * factor


@torch.no_grad()
def _follow(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    """Let the running moments follow, as torch does."""
    for running, new in zip(_running(norm), (mean, variance), strict=True):
        running.lerp_(new.to(running.dtype), norm.momentum or 0.0)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked += 1


def _running(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    if norm.running_mean is None or norm.running_var is None:
        raise ValueError("rows: batch norm without running mean and variance")
    return norm.running_mean, norm.running_var
