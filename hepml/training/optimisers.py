"""Optimisers, schedules of the learning rate and averages of weights."""

import math
from typing import Any

import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from hepml.config import Training

_FLAT, _LAST = 0.7, 0.01  # share of the steps before the rate falls, and to what share of it
_RANGER: dict[str, Any] = {"betas": (0.95, 0.999), "eps": 1e-5}


class Lookahead:
    """Every few steps, go back halfway to where the last of these stops was (arXiv:1907.08610).

    Args:
        optimiser: whose steps are followed from now on.
        steps: between two stops.
        fraction: of the way that is kept.
    """

    def __init__(
        self, optimiser: torch.optim.Optimizer, steps: int = 6, fraction: float = 0.5
    ) -> None:
        self._fast = [p for group in optimiser.param_groups for p in group["params"]]
        self._slow = [p.detach().clone() for p in self._fast]
        self._steps, self._fraction, self._taken = steps, fraction, 0
        optimiser.register_step_post_hook(self._after_step)
        # its state goes with that of the optimiser, so that neither is kept without the other
        optimiser.register_state_dict_post_hook(self._give_state)
        optimiser.register_load_state_dict_pre_hook(self._take_state)

    @torch.no_grad()
    def _after_step(self, *_: object) -> None:
        self._taken += 1
        if self._taken % self._steps == 0:
            for slow, fast in zip(self._slow, self._fast, strict=True):
                fast.copy_(slow.lerp_(fast, self._fraction))

    def _give_state(self, _: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        state["lookahead"] = {"slow": list(self._slow), "taken": self._taken}

    @torch.no_grad()
    def _take_state(self, _: torch.optim.Optimizer, state: dict[str, Any]) -> None:
        given = state["lookahead"]
        self._taken = given["taken"]
        for slow, value in zip(self._slow, given["slow"], strict=True):
            slow.copy_(value)


def make_optimiser(network: nn.Module, settings: Training) -> torch.optim.Optimizer:
    """AdamW (arXiv:1711.05101), or Ranger: RAdam (arXiv:1908.03265) with Lookahead.

    Ranger's constants are those with which Particle Transformer was published (arXiv:2202.03772,
    weaver-core): β = (0.95, 0.999), ε = 1e-5, a stop every 6 steps, half the way kept.
    """
    rate, decay = settings.learning_rate, settings.weight_decay
    parameters = [p for p in network.parameters() if p.requires_grad]
    if settings.optimiser == "ranger":
        optimiser = torch.optim.RAdam(
            parameters, lr=rate, weight_decay=decay, decoupled_weight_decay=True, **_RANGER
        )
        Lookahead(optimiser)
        return optimiser
    return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay, fused=True)


def make_schedule(
    optimiser: torch.optim.Optimizer, settings: Training, steps: int
) -> lr_scheduler.LRScheduler:
    """What the learning rate does over all steps of the training."""
    if settings.schedule == "one-cycle":
        return lr_scheduler.OneCycleLR(
            optimiser, max_lr=settings.learning_rate, total_steps=steps + 1
        )
    if settings.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimiser, steps)
    if settings.schedule == "flat":
        return lr_scheduler.LambdaLR(optimiser, lambda step: flat_then_falling(step / steps))
    return lr_scheduler.ConstantLR(optimiser, factor=1)


def flat_then_falling(progress: float) -> float:
    """Factor of the learning rate: 1 for 70 % of the training, then exponentially to 0.01.

    weaver-core's ``flat+decay``, step by step instead of epoch by epoch.

    Args:
        progress: share of the steps that are done, 0 to 1.
    """
    return math.pow(_LAST, max(0.0, (progress - _FLAT) / (1 - _FLAT)))


def make_average(network: nn.Module, decay: float) -> AveragedModel | None:
    """Exponential moving average of weights and of running moments; None without one.

    Args:
        network: to follow; call ``update_parameters`` after each step.
        decay: share that is kept in each step; 0 for no average.
    """
    if not decay:
        return None
    return AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
