"""Whether a user's own network does what is asked of it: tried on a few real jets."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from hepml.errors import InputError
from hepml.models.own import Factory, told
from hepml.training.batches import Batches

_JETS = 128
_AMPLITUDES = tuple(10.0**power for power in range(7))
_DRAWS = 4  # of the parameters, at each amplitude
_ENOUGH = 4  # draws with finite outputs, or nothing is concluded
# A log-likelihood ratio takes both signs, because both densities have the integral 1
_WRONG_RANGES = (
    (0.0, 1.0, "between 0 and 1: leave out the sigmoid or softmax at its end"),
    (-np.inf, 0.0, "at most 0: leave out what makes a log-probability at its end"),
    (0.0, np.inf, "at least 0: leave out the ReLU, softplus or exponential at its end"),
)


@dataclass(frozen=True)
class Probe:
    """Jets that a network is tried on.

    Attributes:
        together: arguments of the network for all of them.
        alone: the same for some of the jets alone, by their position among all.
        jets: how many.
        particles: of each jet, where networks read particles.
    """

    together: tuple[Tensor, ...]
    alone: dict[int, tuple[Tensor, ...]]
    jets: int
    particles: Int64[np.ndarray, " jets"] | None


def make_probe(events: Batches, particles: Int64[np.ndarray, " all"] | None) -> Probe:
    """Jets spread evenly over all, and those with the fewest and the most particles.

    A jet without particles is added to particles and images, whether there is one or not: one day
    there will be, and to take particles away, as a figure does, makes one.

    Args:
        events: to choose from, on the device of the network.
        particles: of each event that the source has; None where networks read no particles.
    """
    spread = np.linspace(0, len(events) - 1, min(_JETS, len(events))).astype(int)
    chosen = np.unique(spread)
    if particles is not None:
        counts = particles[events.events]
        extremes = np.unique([counts.argmin(), counts.argmax()])
        chosen = np.concatenate([extremes, np.setdiff1d(chosen, extremes)])
    some = _some(events, chosen)
    ((together, _, _),) = some.ordered(len(some))
    positions = np.unique([0, 1, len(some) // 2, len(some) - 1])
    singles = _some(some, positions).ordered(1)
    alone = {int(place): inputs for place, (inputs, _, _) in zip(positions, singles, strict=True)}
    if particles is None:
        return Probe(together, alone, len(some), None)
    counts = np.append(particles[some.events], 0)
    return Probe(_with_an_empty_jet(together), alone, len(some) + 1, counts)


def _with_an_empty_jet(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Append a jet without particles to images, or to features, momenta and counts."""
    *packed, last = inputs
    return *packed, torch.cat([last, torch.zeros_like(last[:1])])


def _some(events: Batches, chosen: Int64[np.ndarray, " chosen"]) -> Batches:
    label, weight = events.label[chosen], events.weight[chosen]
    return replace(events, events=events.events[chosen], label=label, weight=weight)


def require_logits(network: nn.Module, probe: Probe, factory: Factory) -> None:
    """Try a network; weights, buffers and random numbers are afterwards what they were before.

    - It gives one finite number per jet, the same when asked again, and the same for a jet alone.
    - It has parameters to train, and its output depends on them.
    - It can give both signs, whatever the signs it happens to give: a logit that never leaves
      [0, 1] is a probability.

    Args:
        network: on the device of the probe; trained or not.
        probe: the jets.
        factory: what made it, for messages.

    Raises:
        InputError: naming the factory, what was expected and what came.
    """
    device = next((x.device for x in probe.together), torch.device("cpu"))
    devices = [device] if device.type == "cuda" else []
    trial = _Trial(network, probe, factory)
    with torch.random.fork_rng(devices), torch.no_grad():
        network.eval()
        logits = trial.logits(probe.together, probe.jets)  # makes the parameters of lazy layers
        with _as_it_was(network):
            trial.require_finite(logits)
            trial.require_own(logits)
            trial.require_trainable()
            trial.require_both_signs(logits)


@contextmanager
def _as_it_was(network: nn.Module) -> Iterator[None]:
    """Undo in the end what happens to weights and buffers."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    try:
        yield
    finally:
        network.load_state_dict(state)


@dataclass(frozen=True)
class _Trial:
    """A network, the jets it is tried on, and what to call it."""

    network: nn.Module
    probe: Probe
    factory: Factory

    def error(self, message: str) -> InputError:
        return InputError(f"{self.factory.name}: {message}")

    def logits(self, inputs: tuple[Tensor, ...], jets: int) -> Float[Tensor, " jets"]:
        """Outputs for some jets, after checking that they are one number per jet."""
        shapes = ", ".join(str(tuple(x.shape)) for x in inputs)
        try:
            output = self.network(*inputs)
        except Exception as error:
            raise self.error(
                f"the network raised on {jets} jets, inputs of shape {shapes}: "
                f"{told(error, self.factory.file)}"
            ) from error
        if not isinstance(output, Tensor):
            raise self.error(
                f"the network gives a {type(output).__name__}, expected a tensor of logits of "
                f"shape ({jets},)"
            )
        if tuple(output.shape) != (jets,) or not output.is_floating_point():
            raise self.error(
                f"the network gives {output.dtype} of shape {tuple(output.shape)} for {jets} jets "
                f"(inputs of shape {shapes}), expected logits of shape ({jets},), one per jet"
                f"{_mend(output, jets)}"
            )
        return output

    def require_finite(self, logits: Tensor) -> None:
        broken = (~torch.isfinite(logits)).nonzero().flatten().cpu().numpy()
        if broken.size == 0:
            return
        first = ""
        if self.probe.particles is not None:
            first = f", the first of them with {self.probe.particles[broken[0]]} particles"
        raise self.error(
            f"the network gives {logits[broken[0]].item()} for {broken.size} of {self.probe.jets} "
            f"jets{first}; look for divisions by zero, logarithms and means over no particles, "
            "which a jet may have"
        )

    def require_own(self, logits: Tensor) -> None:
        """Raise InputError if the logit of a jet is not a function of that jet."""
        # rounding depends on the size of a batch, on a GPU in the third digit
        spread = logits.std().item() if len(logits) > 1 else 0.0
        tolerance = 0.1 * spread + 2e-3 * logits.abs().max().item() + 1e-6
        again = self.logits(self.probe.together, self.probe.jets)
        if (again - logits).abs().max().item() > tolerance:
            raise self.error(
                "the network gives other logits for the same jets when asked again in evaluation "
                "mode; make dropout and noise depend on self.training (nn.Dropout does)"
            )
        for jet, inputs in self.probe.alone.items():
            alone = self.logits(inputs, 1)[0].item()
            if not abs(alone - logits[jet].item()) <= tolerance:
                raise self.error(
                    f"the network gives {logits[jet].item():.4g} for a jet among {self.probe.jets} "
                    f"but {alone:.4g} for the same jet alone; in evaluation mode no jet may depend "
                    "on the others of its batch (means over the batch, softmax over dimension 0, "
                    "padding that is not masked)"
                )

    def require_trainable(self) -> None:
        if not any(p.requires_grad for p in self.network.parameters()):
            raise self.error(
                "the network has no parameters to train: none is assigned to it as a module or "
                "nn.Parameter, or all have requires_grad=False"
            )
        self.network.train()
        with torch.enable_grad():
            logits = self.logits(self.probe.together, self.probe.jets)
            if not logits.requires_grad:
                raise self.error(
                    "the logits do not depend on any parameter; look for detach(), no_grad() and "
                    "conversions to numpy"
                )
            try:
                logits.sum().backward()
            except RuntimeError as error:
                raise self.error(f"the network has no gradient: {error}") from error
        self.network.zero_grad()
        self.network.eval()

    def require_both_signs(self, logits: Tensor) -> None:
        """Raise InputError if no parameters whatever let the logits leave a wrong range.

        Outputs in [0, 1] alone prove nothing: an untrained network may give them by chance.
        Therefore all parameters are drawn anew, at ever larger scales, until an output lies
        outside. A last layer that is free gives each sign in half of the draws, so the chance that
        28 draws stay on one side is 2⁻²⁸; a sigmoid never leaves its range.
        """
        ranges = [r for r in _WRONG_RANGES if _inside(logits, r[0], r[1])]
        generator = torch.Generator().manual_seed(1)
        finite = 0
        for amplitude in np.repeat(_AMPLITUDES, _DRAWS):
            if not ranges:
                return
            with _as_it_was(self.network):
                _redraw(self.network, float(amplitude), generator)
                outputs = self.logits(self.probe.together, self.probe.jets)
            finite += bool(torch.isfinite(outputs).all())
            ranges = [r for r in ranges if _inside(outputs, r[0], r[1])]
        if ranges and finite >= _ENOUGH:
            raise self.error(
                f"whatever its parameters, the network gives numbers {ranges[0][2]}, and return "
                "logits. They are to become ln p(x|signal)/p(x|background), which takes both signs"
            )


def _mend(output: Tensor, jets: int) -> str:
    if tuple(output.shape) == (jets, 1):
        return "; end with .squeeze(-1)"
    if tuple(output.shape) == (jets, 2):
        return "; of two classes return the difference, x[:, 1] - x[:, 0] without a softmax"
    return ""


def _inside(outputs: Tensor, low: float, high: float) -> bool:
    """Whether all outputs lie in a range; NaN says nothing."""
    return not bool(((outputs < low) | (outputs > high)).any())


def _redraw(network: nn.Module, amplitude: float, generator: torch.Generator) -> None:
    """Normal numbers in place of all trained parameters, of their own size times ``amplitude``."""
    for parameter in network.parameters():
        if parameter.requires_grad:
            size = parameter.square().mean().sqrt().item() or 1.0
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_((drawn * size * amplitude).to(parameter))
