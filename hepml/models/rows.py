"""Linear layer, batch norm and GELU in turn over very many rows, a cacheful at a time on a CPU.

A batch of jets has a thousand pairs per jet. Layer by layer that makes twenty tensors of 40 MB, and
a CPU spends most of the time on fetching fresh memory for them. Here only the outputs of the linear
layers are kept; all else is made chunk by chunk and made again where it is needed. Of the first
layer nothing is kept: the moments of its output follow from those of its few inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hepml import kernels
from hepml.models.batch_norm import Total, combined
from hepml.models.row_layers import (
    Backward,
    Batch,
    First,
    Kept,
    chunks,
    empty,
    outputs,
    through_gelu,
)


@dataclass(frozen=True)
class Layer:
    """A linear layer and the batch norm after it."""

    linear: Any  # nn.Linear
    norm: Any  # nn.BatchNorm1d

    @property
    def parameters(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Weight and bias, gain and shift."""
        return self.linear.weight, self.linear.bias, self.norm.weight, self.norm.bias


@dataclass(frozen=True)
class RowMoments:
    """Number, mean and variance of the rows of a batch, and what sums over its parts, if any."""

    rows: int
    mean: Tensor
    variance: Tensor
    total: Total | None


def row_moments(x: Float[Tensor, "rows before"], total: Total | None) -> RowMoments:
    """Moments of rows; without meaning for fewer than two.

    Args:
        x: rows, or those of this process.
        total: sums a tensor over the processes that share the batch; None if there is one.
    """
    nothing = x.new_zeros(x.shape[1])
    variance, mean = torch.var_mean(x, 0, correction=0) if len(x) else (nothing, nothing)
    if total is None:
        return RowMoments(len(x), mean, variance, None)
    of_all = combined(len(x), mean, variance, total)
    return RowMoments(int(of_all.rows[0]), of_all.mean.to(x), of_all.variance.to(x), total)


def train_rows(
    x: Float[Tensor, "rows before"],
    moments: RowMoments,
    input_norm: nn.BatchNorm1d,
    layers: Sequence[Layer],
) -> Float[Tensor, "rows after"]:
    """Batch norm of the input, then linear layers, batch norms and GELUs in turn.

    All norms take the moments of the batch, which running moments follow. Differentiable once, by
    the parameters; x is data.

    Args:
        x: input; one process may have no rows, all together at least two.
        moments: of the input.
        input_norm: applied first.
        layers: in turn.
    """
    norms = [input_norm, *(layer.norm for layer in layers)]
    parameters = [p for layer in layers for p in layer.parameters]
    gain, shift = input_norm.weight, input_norm.bias
    with torch.autocast(x.device.type, enabled=False):
        output, *found = _Rows.apply(  # type: ignore[no-untyped-call]
            x, moments, input_norm.eps, gain, shift, *parameters
        )
    unbias = moments.rows / (moments.rows - 1)
    for norm, mean, variance in zip(norms, found[::2], found[1::2], strict=True):
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
        folded.append((weight, torch.addcmul(shift, layer.linear.bias, factor)))
    if kernels.fit_for(x):
        return kernels.gelu_layers(x.contiguous(), folded)
    output = empty(len(x), len(folded[-1][1]), like=x)
    with torch.autocast(x.device.type, enabled=False):
        for rows in chunks(len(x)):
            chunk = x[rows]
            for weight, bias in folded[:-1]:
                chunk = torch.ops.aten.gelu_(torch.addmm(bias, chunk, weight.T))
            weight, bias = folded[-1]
            torch.ops.aten.gelu_(torch.addmm(bias, chunk, weight.T, out=output[rows]))
    return output


class _Rows(torch.autograd.Function):
    """Returns the output, then mean and variance of input and each layer (not differentiable)."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        of_input: RowMoments,
        eps: float,
        gain: Tensor,
        shift: Tensor,
        *parameters: Tensor,
    ) -> tuple[Tensor, ...]:
        mean, variance = of_input.mean, of_input.variance
        batch = Batch(len(x), of_input.rows, of_input.total)
        fours = list(zip(*[iter(parameters)] * 4, strict=True))
        first = First((x - mean) / (variance + eps).sqrt(), batch, gain, fours[0], eps)
        moments = [mean, variance, torch.addmv(fours[0][1], first.weight, shift), first.variance]
        later: list[Kept] = []
        last: First | Kept = first
        for four in fours[1:]:
            last = Kept(outputs(last, len(x)), batch, four, eps)
            later.append(last)
            moments += [last.full_mean, last.variance]
        ctx.save_for_backward(gain, shift, *parameters)
        ctx.layers = first, later
        ctx.mark_non_differentiable(*moments)
        output = empty(len(x), len(fours[-1][1]), like=x)
        for rows in chunks(len(x)):
            output[rows] = last.gelu(rows)
        return output, *moments

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        _ = ctx.saved_tensors  # raises if parameters changed since
        first, later = ctx.layers
        of_parameters: list[Tensor] = []
        behind: Backward | None = None
        for layer in reversed(later):
            sums, gradient = layer.no_sums(), torch.empty_like(layer.z)
            for rows in chunks(len(grad)):
                through_gelu(layer, sums, rows, behind or grad, out=gradient[rows])
            if behind:
                of_parameters = behind.gradients() + of_parameters
            behind = Backward(layer, gradient, sums)
        sums = first.no_sums()
        for rows in chunks(len(grad)):
            room = grad.new_empty(rows.stop - rows.start, len(first.shift))
            through_gelu(first, sums, rows, behind or grad, out=room)
        if behind:
            of_parameters = behind.gradients() + of_parameters
        return None, None, None, *first.gradients(sums), *of_parameters


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
