"""Losses and gradients of one epoch, and what is told of them."""

import math
import statistics
import time
from typing import Any

import torch
from torch import Tensor

from hepml.training.parallel import ALONE, World
from hepml.training.result import DivergedError, Report

_NEWS = 30.0  # seconds after which a long epoch tells how far it is


class Watch:
    """Losses of one epoch. They stay on the device, which is asked for them now and then only.

    Processes that train together look at the same time: what they see may end the training.
    """

    def __init__(self, epoch: int, steps: int, report: Report, world: World = ALONE) -> None:
        self.started = self._told = time.perf_counter()
        self._world = world
        self._epoch, self._steps, self._report = epoch, steps, report
        self._recent: list[tuple[Tensor, Tensor, float]] = []
        self._losses: list[float] = []
        self._norms: list[float] = []

    def add(self, loss: Tensor, norm: Tensor, rate: float) -> None:
        """Take the loss, gradient norm and learning rate of a step."""
        self._recent.append((loss, norm, rate))
        if any(self._world.any(time.perf_counter() - self._told > _NEWS)):
            self._look()
            self._told = time.perf_counter()
            done = len(self._losses)
            left = (self._told - self.started) * (self._steps / done - 1)
            self._report(
                f"epoch {self._epoch}: step {done} of {self._steps}, loss "
                f"{statistics.fmean(self._losses):.5f}, {left:.0f} s to the end of the epoch"
            )

    def finish(self) -> tuple[float, float]:
        """Mean loss and largest norm of the gradient."""
        self._look()
        return statistics.fmean(self._losses), max(self._norms)

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs to go on in the middle of the epoch.

        Raises:
            DivergedError: if a loss or gradient is not finite: such a state is never kept.
        """
        self._look()
        return {
            "losses": torch.tensor(self._losses, dtype=torch.float64),
            "norms": torch.tensor(self._norms, dtype=torch.float64),
            "seconds": time.perf_counter() - self.started,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a watch with this state was."""
        self._losses, self._norms = state["losses"].tolist(), state["norms"].tolist()
        self.started = time.perf_counter() - state["seconds"]

    def _look(self) -> None:
        if not self._recent:
            return
        losses, norms, rates = zip(*self._recent, strict=True)
        table = torch.stack([torch.stack(losses), torch.stack(norms)]).double().cpu()
        for (loss, norm), rate in zip(table.T.tolist(), rates, strict=True):
            if not math.isfinite(loss) or not math.isfinite(norm):
                what = "loss" if not math.isfinite(loss) else "gradient"
                raise DivergedError(
                    f"the training {what} is not finite at step {len(self._losses)} of epoch "
                    f"{self._epoch} (loss {loss:.3g}, gradient norm {norm:.3g}, learning rate "
                    f"{rate:.2g}); lower learning_rate or gradient_clip, and look for extreme "
                    "weights or features"
                )
            self._losses.append(loss)
            self._norms.append(norm)
        self._recent.clear()
