"""One training loop for any network: events in, the best weights and the history out."""

import copy
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hepml.config import Training
from hepml.errors import InputError
from hepml.training.batches import Batch, Batches
from hepml.training.losses import weighted_cross_entropy
from hepml.training.optimisers import make_average, make_optimiser, make_schedule

VALIDATION_BATCH = 4096  # events at a time, which bounds memory
_NEWS = 30.0  # seconds after which a long epoch tells how far it is
_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}

Report = Callable[[str], None]


class DivergedError(InputError):
    """The loss or a gradient is not finite any more.

    Attributes:
        fit: of the epochs before, whose best weights the network holds; None in the first epoch.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.fit: Fit | None = None


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training events did."""

    epoch: int
    training_loss: float
    validation_loss: float
    learning_rate: float
    largest_gradient: float
    events_per_second: float


@dataclass(frozen=True)
class Fit:
    """A finished training; the network holds the weights of the best epoch.

    ``events_per_second`` is the median over the epochs, of training without validation.
    """

    history: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    events_per_second: float
    precision: str

    def record(self) -> dict[str, object]:
        """The same as plain numbers."""
        return asdict(self)


def fit(
    network: nn.Module, training: Batches, validation: Batches, settings: Training, report: Report
) -> Fit:
    """Minimise the weighted cross-entropy; stop when validation stops improving.

    The shuffle has its own generator, seeded by torch's initial seed, so that nothing else that
    draws random numbers changes the batches. With ``settings.average`` the averaged weights are
    validated and kept.

    Args:
        network: trained in place, on the device of the events; ends with the weights of the best
            epoch.
        training: events to learn from.
        validation: events that only decide when to stop.
        settings: epochs, schedule and so on.
        report: is told one line per epoch, and more in long ones.

    Raises:
        DivergedError: if the loss or a gradient stops being finite; says at which step.
        InputError: if memory does not suffice.
    """
    run = _Run(network, training, validation, settings, report)
    best: dict[str, Any] = {}
    try:
        for number in range(1, settings.epochs + 1):
            with _memory_errors(settings):
                epoch = run.epoch(number)
            if not run.history or epoch.validation_loss < run.best.validation_loss:
                best = copy.deepcopy(run.kept.state_dict())
            run.history.append(epoch)
            run.tell(epoch)
            if number - run.best.epoch >= settings.patience:
                break
    except DivergedError as error:
        if best:
            network.load_state_dict(best)
            error.fit = run.result()
        raise
    network.load_state_dict(best)
    return run.result()


class _Run:
    """What one training carries from epoch to epoch."""

    def __init__(
        self,
        network: nn.Module,
        training: Batches,
        validation: Batches,
        settings: Training,
        report: Report,
    ) -> None:
        self.network = network
        self.training = training
        self.validation = validation
        self.settings = settings
        self.report = report
        self.history: list[Epoch] = []
        self.forward = torch.compile(network) if settings.compile else network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.generator = torch.Generator().manual_seed(torch.initial_seed())
        self.optimiser = make_optimiser(network, settings)
        self.steps = math.ceil(len(training) / settings.batch_size)
        self.schedule = make_schedule(self.optimiser, settings, settings.epochs * self.steps)
        self.average = make_average(network, settings.average)
        device = training.device.type
        self.precision = settings.precision if device == "cuda" else "fp32"
        self.scaler = torch.amp.GradScaler(device, enabled=self.precision == "fp16")
        self.started = time.perf_counter()

    @property
    def kept(self) -> nn.Module:
        """The network that is validated and kept."""
        return self.network if self.average is None else self.average.module

    @property
    def best(self) -> Epoch:
        """The first of the epochs with the lowest validation loss."""
        return min(self.history, key=lambda epoch: epoch.validation_loss)

    def result(self) -> Fit:
        """Everything up to now."""
        speed = statistics.median(epoch.events_per_second for epoch in self.history)
        seconds = time.perf_counter() - self.started
        return Fit(tuple(self.history), self.best.epoch, seconds, speed, self.precision)

    def epoch(self, number: int) -> Epoch:
        """Train on all events once, then validate."""
        rate = float(self.schedule.get_last_lr()[0])
        watch = _Watch(number, self.steps, self.report)
        self.network.train()
        for batch in self._batches():
            watch.add(*self._step(*batch), float(self.schedule.get_last_lr()[0]))
        loss, largest = watch.finish()
        seconds = time.perf_counter() - watch.started
        validation_loss = self.validate()
        if not math.isfinite(validation_loss):
            raise DivergedError(
                f"the validation loss is not finite after epoch {number} (learning rate "
                f"{rate:.2g}); lower learning_rate, and look for extreme weights or features"
            )
        return Epoch(
            epoch=number,
            training_loss=loss,
            validation_loss=validation_loss,
            learning_rate=rate,
            largest_gradient=largest,
            events_per_second=len(self.training) / seconds,
        )

    def _batches(self) -> Iterator[Batch]:
        return self.training.shuffled(self.settings.batch_size, self.generator)

    def _step(
        self, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and norm of the gradient, before the step."""
        self.optimiser.zero_grad()
        with self._autocast():
            logits = self.forward(*inputs)
        loss = weighted_cross_entropy(logits.float(), label, weight)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        # a scaler skips steps whose gradients overflow: that is its way to find the scale
        return loss.detach(), torch.zeros_like(norm) if self.scaler.is_enabled() else norm.detach()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.training.device.type, _PRECISION[self.precision])

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss over the validation events, in single precision as scores are made."""
        network = self.kept.eval()
        total = torch.zeros((), dtype=torch.float64)
        for inputs, label, weight in self.validation.ordered(VALIDATION_BATCH):
            loss = weighted_cross_entropy(network(*inputs), label, weight)
            total += loss.double().cpu() * len(label)
        return total.item() / len(self.validation)

    def tell(self, epoch: Epoch) -> None:
        """One line on a finished epoch."""
        left = self.settings.epochs - epoch.epoch
        left *= (time.perf_counter() - self.started) / epoch.epoch  # type: ignore[assignment]
        self.report(
            f"epoch {epoch.epoch}/{self.settings.epochs}: loss {epoch.training_loss:.5f}, "
            f"validation {epoch.validation_loss:.5f} (best {self.best.validation_loss:.5f} in "
            f"epoch {self.best.epoch}), {epoch.events_per_second:,.0f} events/s, at most "
            f"{left:.0f} s to go"
        )


class _Watch:
    """Losses of one epoch. They stay on the device, which is asked for them now and then only."""

    def __init__(self, epoch: int, steps: int, report: Report) -> None:
        self.started = self._told = time.perf_counter()
        self._epoch, self._steps, self._report = epoch, steps, report
        self._recent: list[tuple[Tensor, Tensor, float]] = []
        self._losses: list[float] = []
        self._norms: list[float] = []

    def add(self, loss: Tensor, norm: Tensor, rate: float) -> None:
        """Take the loss, gradient norm and learning rate of a step."""
        self._recent.append((loss, norm, rate))
        if time.perf_counter() - self._told > _NEWS:
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


@contextmanager
def _memory_errors(settings: Training) -> Iterator[None]:
    """Say what to lower where memory ends."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise InputError(
            f"the GPU's memory does not suffice for a batch of {settings.batch_size} events "
            f"({str(error).splitlines()[0]}); lower training.batch_size, or what one event takes: "
            "the maximum of particles, the pixels, the width of the network"
        ) from None
