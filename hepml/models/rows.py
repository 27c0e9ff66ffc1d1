"""Linear layer, batch norm and GELU in turn over very many rows, a cacheful at a time on a CPU.

A batch of jets has a thousand pairs per jet. Layer by layer that makes twenty tensors of 40 MB, and
a CPU spends most of the time on fetching fresh memory for them. Here only the outputs of the linear
layers are kept; all else is made chunk by chunk and made again where it is needed.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

_ROWS = 2048  # of 64 float32: half a megabyte


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
    x: Float[Tensor, "rows before"], layers: Sequence[Layer]
) -> Float[Tensor, "rows after"]:
    """Linear layers, batch norms (of this batch) and GELUs in turn; differentiable once."""
    parameters = [p for layer in layers for p in layer.parameters]
    eps = layers[0].norm.eps
    output, *moments = _Rows.apply(x, eps, *parameters)  # type: ignore[no-untyped-call]
    unbias = len(x) / (len(x) - 1)
    for layer, mean, variance in zip(layers, moments[::2], moments[1::2], strict=True):
        _follow(layer.norm, mean, variance * unbias)
    return output


def infer_rows(
    x: Float[Tensor, "rows before"], input_norm: nn.BatchNorm1d, layers: Sequence[Layer]
) -> Float[Tensor, "rows after"]:
    """The same with running moments, where each norm is a part of the linear layer before it.

    Args:
        x: input.
        input_norm: applied first.
        layers: in turn.
    """
    factor, shift = _affine(input_norm)
    x = torch.addcmul(shift, x, factor)
    folded = []
    for layer in layers:
        factor, shift = _affine(layer.norm)
        weight = layer.linear.weight * factor[:, None]
        folded.append((weight, torch.addcmul(shift, layer.linear.bias, factor)))
    outputs = []
    for chunk in x.split(_ROWS):
        for weight, bias in folded:
            chunk = torch.ops.aten.gelu_(functional.linear(chunk, weight, bias))
        outputs.append(chunk)
    return torch.cat(outputs)


@dataclass(frozen=True)
class _Normalised:
    """Output z of a linear layer, chunk by chunk, and what batch norm makes of it."""

    z: list[Tensor]
    mean: Tensor
    variance: Tensor
    deviation: Tensor
    factor: Tensor  # gain / deviation
    shift: Tensor

    def normal(self, z: Tensor) -> Tensor:
        """Output of the batch norm."""
        return torch.addcmul(self.shift - self.mean * self.factor, z, self.factor)

    def outputs(self) -> Iterator[Tensor]:
        """Output of the GELU."""
        return (torch.ops.aten.gelu_(self.normal(z)) for z in self.z)


class _Rows(torch.autograd.Function):
    """Returns the output, then mean and variance of each layer (not differentiable)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, *parameters: Tensor) -> tuple[Tensor, ...]:  # noqa: ANN401
        done: list[_Normalised] = []
        for weight, bias, gain, shift in _fours(parameters):
            before = done[-1].outputs() if done else x.split(_ROWS)
            z = [torch.addmm(bias, chunk, weight.T) for chunk in before]
            mean, variance = _moments(z)
            deviation = (variance + eps).sqrt()
            done.append(_Normalised(z, mean, variance, deviation, gain / deviation, shift))
        ctx.save_for_backward(x, *parameters)
        ctx.done = done
        moments = [m for layer in done for m in (layer.mean, layer.variance)]
        ctx.mark_non_differentiable(*moments)
        return torch.cat(list(done[-1].outputs())), *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, *parameters = ctx.saved_tensors
        grads = list(grad.split(_ROWS))
        of_parameters: list[Tensor] = []
        layers = list(zip(ctx.done, _fours(parameters), strict=True))
        for depth in reversed(range(len(layers))):
            layer, (weight, bias, _gain, _shift) = layers[depth]
            of_gain, of_shift = _through_gelu(grads, layer)
            before = layers[depth - 1][0].outputs() if depth else x.split(_ROWS)
            of_weight = _through_linear(
                grads, before, weight, _NormBackward(layer, of_gain / len(x), of_shift / len(x))
            )
            # the norm takes away any bias
            of_parameters = [of_weight, torch.zeros_like(bias), of_gain, of_shift, *of_parameters]
        return torch.cat(grads), None, *of_parameters


def _through_gelu(grads: list[Tensor], layer: _Normalised) -> tuple[Tensor, Tensor]:
    """Replace gradients after the GELU by those before it; return those of gain and shift."""
    of_shift, of_centred = torch.zeros_like(layer.mean), torch.zeros_like(layer.mean)
    for index, z in enumerate(layer.z):
        grads[index] = torch.ops.aten.gelu_backward(grads[index], layer.normal(z))
        of_shift += grads[index].sum(0)
        of_centred += (z - layer.mean).mul_(grads[index]).sum(0)
    return of_centred / layer.deviation, of_shift


@dataclass(frozen=True)
class _NormBackward:
    """Gradient before a batch norm: (g - mean(g) - ẑ mean(g ẑ)) · gain/deviation."""

    layer: _Normalised
    with_normal: Tensor  # mean of g ẑ
    mean: Tensor  # of g

    def __call__(self, grad: Tensor, z: Tensor) -> Tensor:
        layer = self.layer
        slope = self.with_normal * layer.factor / layer.deviation
        constant = layer.mean * slope - self.mean * layer.factor
        return torch.addcmul(constant, grad, layer.factor).addcmul_(z, slope, value=-1)


def _through_linear(
    grads: list[Tensor], before: Iterable[Tensor], weight: Tensor, norm: _NormBackward
) -> Tensor:
    """Replace gradients after the batch norm by those of the layer's input; return the weight's."""
    of_weight = torch.zeros_like(weight)
    for index, (z, chunk) in enumerate(zip(norm.layer.z, before, strict=True)):
        of_z = norm(grads[index], z)
        of_weight.addmm_(of_z.T, chunk)
        grads[index] = of_z @ weight
    return of_weight


def _moments(z: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each column, from deviations from the mean of the first rows."""
    near = z[0].mean(0)
    first, second = torch.zeros_like(near), torch.zeros_like(near)
    for chunk in z:
        deviation = chunk - near
        first += deviation.sum(0)
        second += deviation.square_().sum(0)
    rows = sum(map(len, z))
    first /= rows
    return near + first, (second / rows - first.square()).clamp_(min=0)


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


def _fours(parameters: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    return zip(*[iter(parameters)] * 4, strict=True)
