"""One training loop for any network: events in, the best weights and the history out."""

import copy
import math
import statistics
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from hepml.config import Training
from hepml.errors import InputError
from hepml.training.batches import Batches
from hepml.training.losses import weighted_cross_entropy
from hepml.training.optimisers import make_average, make_optimiser, make_schedule
from hepml.training.result import DivergedError, Epoch, Fit, Report
from hepml.training.state import (
    Keeper,
    NoKeeper,
    State,
    dropouts,
    random_state,
    restore_dropouts,
    restore_optimiser,
    restore_random,
)
from hepml.training.watch import Watch

VALIDATION_BATCH = 4096  # events at a time, which bounds memory
_PRECISION = {"bf16": torch.bfloat16, "fp16": torch.float16}


def fit(
    network: nn.Module,
    training: Batches,
    validation: Batches,
    settings: Training,
    report: Report,
    keeper: Keeper | None = None,
) -> Fit:
    """Minimise the weighted cross-entropy; stop when validation stops improving.

    The shuffle has its own generator, seeded by torch's initial seed, so that nothing else that
    draws random numbers changes the batches. With ``settings.average`` the averaged weights are
    validated and kept. Processes that share batches do the same together as one would alone, up to
    rounding and what they draw; the network gets other batch norms then.

    Args:
        network: trained in place, on the device of the events; ends with the weights of the best
            epoch.
        training: events to learn from.
        validation: events that only decide when to stop.
        settings: epochs, schedule and so on.
        report: is told one line per epoch, and more in long ones.
        keeper: keeps the state between steps, and knows where an earlier training stopped: this
            one goes on there, on a CPU as if nothing had happened bit for bit. What a network
            changes in training must be parameters or buffers, and drawn from torch's generators.

    Raises:
        DivergedError: if the loss or a gradient stops being finite; says at which step.
        InputError: if memory does not suffice, or the processes are more than the events of a
            batch.
    """
    run = _Run(network, training, validation, settings, report)
    run.keep(keeper or NoKeeper())
    try:
        while not run.over:
            with _memory_errors(settings):
                run.epoch()
    except DivergedError as error:
        if run.weights:
            network.load_state_dict(run.weights)
            error.fit = run.result()
        raise
    network.load_state_dict(run.weights)
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
        self.world = training.world
        training.require_parts(settings.batch_size)
        validation.require_parts(VALIDATION_BATCH)
        self.world.take_in(network)
        self.network = network
        self.training = training
        self.validation = validation
        self.settings = settings
        self.report = report
        self.keeper: Keeper = NoKeeper()
        self.history: list[Epoch] = []
        self.weights: dict[str, Any] = {}  # of the best epoch
        self.forward = torch.compile(network) if settings.compile else network
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.generator = torch.Generator().manual_seed(torch.initial_seed())
        self.world.draw_apart()
        self.optimiser = make_optimiser(network, settings)
        self.steps = math.ceil(len(training) / settings.batch_size)
        self.schedule = make_schedule(self.optimiser, settings, settings.epochs * self.steps)
        self.average = make_average(network, settings.average)
        device = training.device.type
        self.precision = settings.precision if device == "cuda" else "fp32"
        self.scaler = torch.amp.GradScaler(device, enabled=self.precision == "fp16")
        self.started = time.perf_counter()
        self.done = 0  # batches of the present epoch
        self._begin()

    @property
    def over(self) -> bool:
        """Whether the last epoch is done, or the best one too long ago."""
        if not self.history:
            return False
        last = self.history[-1].epoch
        return last >= self.settings.epochs or last - self.best.epoch >= self.settings.patience

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

    def _begin(self) -> None:
        """Note what the present epoch begins with."""
        self.shuffle = self.generator.get_state()
        self.rate = float(self.schedule.get_last_lr()[0])
        self.watch = Watch(len(self.history) + 1, self.steps, self.report, self.world)

    def epoch(self) -> None:
        """Train on all events once, then validate."""
        if not self.done:
            self._begin()
        epoch = self._pass()
        if not self.history or epoch.validation_loss < self.best.validation_loss:
            self.weights = copy.deepcopy(self.kept.state_dict())
        self.history.append(epoch)
        self.done = 0
        self._begin()
        self.tell(epoch)
        self.keeper.after_epoch(self.state)

    def _pass(self) -> Epoch:
        """What is left of an epoch, and its record."""
        self.network.train()
        size = self.settings.batch_size
        for batch in self.training.shuffled(size, self.generator, skip=self.done):
            self.watch.add(*self._step(*batch), float(self.schedule.get_last_lr()[0]))
            self.done += 1
            self.keeper.between(self.state)
        loss, largest = self.watch.finish()
        seconds = time.perf_counter() - self.watch.started
        validation_loss = self.validate()
        number = len(self.history) + 1
        if not math.isfinite(validation_loss):
            raise DivergedError(
                f"the validation loss is not finite after epoch {number} (learning rate "
                f"{self.rate:.2g}); lower learning_rate, and look for extreme weights or features"
            )
        return Epoch(
            epoch=number,
            training_loss=loss,
            validation_loss=validation_loss,
            learning_rate=self.rate,
            largest_gradient=largest,
            events_per_second=len(self.training) / seconds,
        )

    def keep(self, keeper: Keeper) -> None:
        """Go on where an earlier training stopped, if there was one, and keep the states."""
        self.keeper = keeper
        state = keeper.found()
        if state is None:
            return
        self._restore(state)
        self.report(
            f"going on after {len(self.history)} epochs and {self.done} of {self.steps} steps"
        )

    def state(self) -> State:
        """Everything that :meth:`_restore` needs to go on with the next step, in any process."""
        own = {"random": random_state(self.training.device), "dropouts": dropouts(self.network)}
        average = None if self.average is None else self.average.state_dict()
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "average": average,
            "scaler": self.scaler.state_dict(),
            "processes": self.world.of_each(own),
            "shuffle": self.shuffle,  # as the epoch began: its order is drawn again
            "done": self.done,
            "rate": self.rate,
            "watch": self.watch.state(),
            "history": [asdict(epoch) for epoch in self.history],
            "weights": self.weights,
            "seconds": time.perf_counter() - self.started,
        }

    def _restore(self, state: State) -> None:
        self.network.load_state_dict(state["network"])
        restore_optimiser(self.optimiser, state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.scaler.load_state_dict(state["scaler"])
        own = state["processes"][self.world.rank]
        restore_random(own["random"], self.training.device)
        restore_dropouts(self.network, own["dropouts"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.weights = state["weights"]
        self.generator.set_state(state["shuffle"])
        self._begin()
        self.done, self.rate = state["done"], state["rate"]
        self.watch.restore(state["watch"])
        self.started = time.perf_counter() - state["seconds"]

    def _step(
        self, inputs: tuple[Tensor, ...], label: Tensor, weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and norm of the gradient of the whole batch, before the step."""
        self.optimiser.zero_grad()
        with self._autocast():
            logits = self.forward(*inputs)
        loss = weighted_cross_entropy(logits.float(), label, weight)
        self.scaler.scale(loss).backward()
        loss = self.world.sum_gradients(self.parameters, loss.detach())
        self.scaler.unscale_(self.optimiser)
        norm = nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.network)
        # a scaler skips steps whose gradients overflow: that is its way to find the scale
        return loss, torch.zeros_like(norm) if self.scaler.is_enabled() else norm.detach()

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.training.device.type, _PRECISION[self.precision])

    @torch.no_grad()
    def validate(self) -> float:
        """Mean loss over the validation events, in single precision as scores are made."""
        network = self.kept.eval()
        total = torch.zeros((), dtype=torch.float64)
        for inputs, label, weight in self.validation.parts(VALIDATION_BATCH):
            loss = weighted_cross_entropy(network(*inputs), label, weight)
            self.keeper.between(self.state)
            total += loss.double().cpu() * len(label)
        return self.world.total(total).item() / len(self.validation)

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
