"""Batch norms: of batches with few rows, and of batches that several processes share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from hepml.errors import InputError

Total = Callable[[Tensor], Tensor]  # the sum of a tensor over all processes


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation; fewer than two rows have no deviation and take the running one."""

    def forward(self, x: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
        """Normalise every column."""
        if len(x) > 1 or not self.training:
            return super().forward(x)
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
        )


_KNOWN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, BatchNorm)


class SharedBatchNorm(BatchNorm):
    """Batch normalisation by the moments of a batch of which each process has a part.

    With these, and gradients that are summed over the processes, a training in several processes is
    that in one. torch's SyncBatchNorm does the same on GPUs only. Any number of dimensions after
    the second; a process may have no rows at all.

    Args:
        norm: whose parameters and running moments it shares.
        total: sums a tensor over the processes.
    """

    def __init__(self, norm: _BatchNorm, total: Total) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum)
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean, self.running_var = norm.running_mean, norm.running_var
        self.num_batches_tracked = norm.num_batches_tracked
        self.track_running_stats = norm.track_running_stats
        self.training = norm.training
        self.total = total

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # processes talk, no graph holds that
    def forward(
        self, x: Float[Tensor, "rows width *others"]
    ) -> Float[Tensor, "rows width *others"]:
        """Normalise every channel."""
        mean, variance = self.running_mean, self.running_var
        if not self.training:
            return functional.batch_norm(
                x, mean, variance, self.weight, self.bias, mean is None, 0.0, self.eps
            )
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        moments = _moments(precise.detach(), self.total)
        if mean is not None and variance is not None:
            moments = self._follow(moments, mean, variance)
        gain, shift = self._affine(precise)
        output: Tensor = _Normal.apply(  # type: ignore[no-untyped-call]
            precise, gain, shift, moments, self.eps, self.total
        )
        return output.to(x.dtype)

    def _affine(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Gain and shift; 1 and 0 for a norm without."""
        gain: Tensor | None = self.weight
        shift: Tensor | None = self.bias
        one = x.new_ones(x.shape[1])
        return (
            one if gain is None else gain,
            torch.zeros_like(one) if shift is None else shift,
        )

    @torch.no_grad()
    def _follow(self, new: "Moments", mean: Tensor, variance: Tensor) -> "Moments":
        """Let the running moments follow; give those to normalise by."""
        few = new.rows < 2
        if self.num_batches_tracked is not None:
            self.num_batches_tracked += ~few[0]
        share: Any = self.momentum
        if share is None and self.num_batches_tracked is not None:  # the mean over all batches
            share = 1 / self.num_batches_tracked.clamp(min=1)
        unbiased = new.variance * (new.rows / (new.rows - 1))
        used = []
        for running, of_batch, followed in (
            (mean, new.mean, new.mean),
            (variance, new.variance, unbiased),
        ):
            used.append(torch.where(few, running.to(of_batch), of_batch))
            after = running + share * (followed.to(running) - running)
            running.copy_(torch.where(few, running, after))
        return Moments(torch.where(few, torch.inf, new.rows), *used)


@dataclass(frozen=True)
class Moments:
    """Of all rows of a batch, float64. Infinitely many rows: moments that do not depend on them."""

    rows: Tensor
    mean: Tensor
    variance: Tensor


@torch.no_grad()
def _moments(x: Tensor, total: Total) -> Moments:
    rows = x.numel() // x.shape[1]
    if not rows:
        nothing = x.new_zeros(x.shape[1])
        return combined(0, nothing, nothing, total)
    variance, mean = torch.var_mean(x, _axes(x), correction=0)
    return combined(rows, mean, variance, total)


def combined(rows: int, mean: Tensor, variance: Tensor, total: Total) -> Moments:
    """Moments of a batch from those of its parts.

    Args:
        rows: of this part.
        mean: of each channel in it; any number where it has no rows.
        variance: the same.
        total: sums a tensor over the processes.
    """
    mean = mean.double()  # its square and the sum of squares nearly cancel
    parts = torch.stack([torch.ones_like(mean), mean, variance.double() + mean.square()])
    everywhere, first, second = total(rows * parts)
    mean = first / everywhere
    return Moments(everywhere, mean, (second / everywhere - mean.square()).clamp_(min=0))


class _Normal(torch.autograd.Function):
    """The normalised input, and a gradient that knows the moments depend on all parts."""

    @staticmethod
    def forward(  # noqa: PLR0913
        ctx: Any,  # noqa: ANN401
        x: Tensor,
        gain: Tensor,
        shift: Tensor,
        moments: Moments,
        eps: float,
        total: Total,
    ) -> Tensor:
        inverse = (moments.variance + eps).rsqrt().to(x.dtype)
        normal = (x - _wide(moments.mean.to(x.dtype), x)) * _wide(inverse, x)
        ctx.save_for_backward(normal, gain, inverse, moments.rows)
        ctx.total = total
        return torch.addcmul(_wide(shift, x), normal, _wide(gain, x))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        normal, gain, inverse, rows = ctx.saved_tensors
        # of this part alone: gradients of parameters are summed over the processes later
        of_shift = gradient.sum(_axes(gradient))
        of_gain = (gradient * normal).sum(_axes(gradient))
        if not ctx.needs_input_grad[0]:
            return None, of_gain, of_shift, None, None, None
        means = ctx.total(torch.stack([of_shift, of_gain]).double()) / rows
        first, second = (_wide(mean, normal) for mean in means.to(normal.dtype))
        of_x = (gradient - first - normal * second) * _wide(gain * inverse, normal)
        return of_x, of_gain, of_shift, None, None, None


def _axes(x: Tensor) -> list[int]:
    """All but that of the channels."""
    return [0, *range(2, x.dim())]


def _wide(of_channels: Tensor, x: Tensor) -> Tensor:
    return of_channels.view(-1, *[1] * (x.dim() - 2))


def share_norms(network: nn.Module, total: Total) -> None:
    """Let all batch norms of a network take the moments of batches that processes share.

    Args:
        network: gets other modules in place of its batch norms, with the same parameters and names.
        total: sums a tensor over the processes.

    Raises:
        InputError: if a batch norm is none of torch's own, so that we cannot know what it does.
    """
    shared: dict[nn.Module, SharedBatchNorm] = {}
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if not isinstance(module, _BatchNorm):
            continue
        if type(module) not in _KNOWN or not name:
            raise InputError(
                f"{name or 'the network'} is a {type(module).__name__}: of this kind of batch norm "
                "several processes cannot share the moments; use torch.nn.BatchNorm1d, 2d or 3d, "
                "or train in one process"
            )
        parent, _, leaf = name.rpartition(".")
        norm = shared.setdefault(module, SharedBatchNorm(module, total))
        setattr(network.get_submodule(parent), leaf, norm)
