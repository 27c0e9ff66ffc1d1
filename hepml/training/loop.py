"""One training loop for any network: arrays in, the best weights and the history out."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hepml.config import Training
from hepml.errors import InputError
from hepml.inputs.source import Source
from hepml.training.losses import weighted_cross_entropy

Batch = tuple[tuple[Tensor, ...], Tensor, Tensor]
VALIDATION_BATCH = 4096  # events at a time, which bounds memory


@dataclass(frozen=True)
class Batches:
    """Events to train on: what the network reads, labels, and weights of mean 1.

    Labels and weights lie on the device that trains; ``events`` says which of the source's.
    """

    source: Source
    events: Int64[np.ndarray, " events"]
    label: Float[Tensor, " events"]
    weight: Float[Tensor, " events"]

    def __len__(self) -> int:
        return len(self.label)

    def to(self, device: torch.device) -> "Batches":
        """The same with labels and weights on a device."""
        return Batches(self.source, self.events, self.label.to(device), self.weight.to(device))

    def shuffled(self, size: int, generator: torch.Generator) -> Iterator[Batch]:
        """All events once in random order, in nearly equal batches of at most ``size``."""
        return self._batches(torch.randperm(len(self), generator=generator), size)

    def ordered(self, size: int) -> Iterator[Batch]:
        """All events once as they come, in nearly equal batches of at most ``size``."""
        return self._batches(torch.arange(len(self)), size)

    def _batches(self, order: Tensor, size: int) -> Iterator[Batch]:
        for chosen in order.tensor_split(math.ceil(len(self) / size)):
            inputs = self.source.take(self.events[chosen.numpy()])
            here = chosen.to(self.label.device)
            yield inputs, self.label[here], self.weight[here]


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training events did."""

    epoch: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    events_per_second: float


@dataclass(frozen=True)
class Fit:
    """A finished training; the network holds the weights of the best epoch."""

    history: tuple[Epoch, ...]
    best_epoch: int
    seconds: float

    def record(self) -> dict[str, object]:
        """The same as plain numbers."""
        return asdict(self)


def fit(
    network: nn.Module,
    training: Batches,
    validation: Batches,
    settings: Training,
    report: Callable[[str], None],
) -> Fit:
    """Minimise the weighted cross-entropy; stop when validation stops improving.

    The shuffle has its own generator, seeded by torch's initial seed, so that nothing else that
    draws random numbers changes the batches.

    Args:
        network: trained in place; ends with the weights of the best epoch.
        training: events to learn from.
        validation: events that only decide when to stop.
        settings: epochs, schedule and so on.
        report: is told one line per epoch.

    Raises:
        InputError: if the loss stops being finite; says at which step.
    """
    run = _Run(network, training, validation, settings)
    started = time.perf_counter()
    history: list[Epoch] = []
    best = math.inf
    for number in range(1, settings.epochs + 1):
        epoch = run.epoch(number)
        history.append(epoch)
        if number == 1 or epoch.validation_loss < best:
            best, best_epoch = epoch.validation_loss, number
            best_weights = copy.deepcopy(network.state_dict())
        left = (settings.epochs - number) * (time.perf_counter() - started) / number
        report(
            f"epoch {number}/{settings.epochs}: loss {epoch.training_loss:.5f}, validation "
            f"{epoch.validation_loss:.5f} (best {best:.5f} in epoch {best_epoch}), "
            f"{epoch.events_per_second:,.0f} events/s, at most {left:.0f} s to go"
        )
        if number - best_epoch >= settings.patience:
            break
    network.load_state_dict(best_weights)
    return Fit(tuple(history), best_epoch, time.perf_counter() - started)


class _Run:
    """What one training carries from epoch to epoch."""

    def __init__(
        self, network: nn.Module, training: Batches, validation: Batches, settings: Training
    ) -> None:
        self.network = network
        self.training = training
        self.validation = validation
        self.settings = settings
        self.generator = torch.Generator().manual_seed(torch.initial_seed())
        self.optimiser = torch.optim.AdamW(
            network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
        )
        steps = settings.epochs * math.ceil(len(training) / settings.batch_size)
        self.schedule = _schedule(self.optimiser, settings, steps)

    def epoch(self, number: int) -> Epoch:
        """Train on all events once, then validate."""
        rate = self.schedule.get_last_lr()[0]
        started = time.perf_counter()
        self.network.train()
        # nothing waits for the device inside the loop: losses are looked at after it
        losses = torch.stack([self._step(*batch) for batch in self._batches()])
        seconds = time.perf_counter() - started
        broken = torch.nonzero(~torch.isfinite(losses))
        if len(broken):
            raise InputError(
                f"the training loss is not finite at step {int(broken[0])} of epoch {number} "
                f"(learning rate {rate:.2g}); lower learning_rate or gradient_clip, and look for "
                "extreme weights or features"
            )
        validation_loss = self.validate()
        if not math.isfinite(validation_loss):
            raise InputError(
                f"the validation loss is not finite after epoch {number} (learning rate "
                f"{rate:.2g}); lower learning_rate, and look for extreme weights or features"
            )
        return Epoch(
            epoch=number,
            training_loss=losses.mean().item(),
            validation_loss=validation_loss,
            learning_rate=float(rate),
            events_per_second=len(self.training) / seconds,
        )

    def _batches(self) -> Iterator[Batch]:
        return self.training.shuffled(self.settings.batch_size, self.generator)

    def _step(self, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor) -> Tensor:
        self.optimiser.zero_grad()
        loss = weighted_cross_entropy(self.network(*inputs), label, weight)
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.gradient_clip)
        self.optimiser.step()
        self.schedule.step()
        return loss.detach()

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss over the validation events."""
        self.network.eval()
        total = torch.zeros((), dtype=torch.float64)
        for inputs, label, weight in self.validation.ordered(VALIDATION_BATCH):
            loss = weighted_cross_entropy(self.network(*inputs), label, weight)
            total += loss.double().cpu() * len(label)
        return total.item() / len(self.validation)


def _schedule(
    optimiser: torch.optim.Optimizer, settings: Training, steps: int
) -> torch.optim.lr_scheduler.LRScheduler:
    if settings.schedule == "one-cycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=settings.learning_rate, total_steps=steps + 1
        )
    if settings.schedule == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    return torch.optim.lr_scheduler.ConstantLR(optimiser, factor=1)
