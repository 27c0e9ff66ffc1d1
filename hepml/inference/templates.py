"""Templates: expected bin contents of each process, nominal and under every source of uncertainty.

A variation is split as TRExFitter and cabinetry do: what it does to the sum of the fitted bins is a
factor (``normsys``), what it does to their shape at the nominal sum a shift (``histosys``).
docs/decisions/0008 has the reasons.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from hepml.errors import InputError
from hepml.inference.model import Model
from hepml.inference.sources import Normalisation, Processes, Source, Systematics

NO_SHAPE = 1e-12  # largest relative change of a bin that is rounding


@dataclass(frozen=True)
class Filled:
    """Contents of the bins of each process.

    Attributes:
        contents: expected events.
        variance: Σ w², entries of one event in a bin added up before squaring.
        varied: contents by the name of the source, down and up.
    """

    contents: Float[np.ndarray, "processes bins"]
    variance: Float[np.ndarray, "processes bins"]
    varied: Mapping[str, Float[np.ndarray, "2 processes bins"]]


@dataclass(frozen=True)
class Effect:
    """What a source does to one process, at α = -1 and 1.

    Attributes:
        factors: on its yield.
        shifts: of its bins, before the factors; None if the shape stays.
    """

    factors: tuple[float, float]
    shifts: Float[np.ndarray, "2 bins"] | None


@dataclass(frozen=True)
class Template:
    """Expected bin contents of one process.

    Attributes:
        name: of the process.
        signal: whether µ scales it.
        nominal: expected events.
        error: from the statistics of the simulation.
        effects: by the name of the source; none where a source does nothing.
    """

    name: str
    signal: bool
    nominal: Float[np.ndarray, " bins"]
    error: Float[np.ndarray, " bins"]
    effects: Mapping[str, Effect]


@dataclass(frozen=True)
class Templates:
    """All processes, and the names of all sources that do something."""

    processes: tuple[Template, ...]
    sources: tuple[str, ...]

    @property
    def signal(self) -> Bool[np.ndarray, " processes"]:
        """Which processes are signal."""
        return np.array([process.signal for process in self.processes])

    def contents(self, *, signal: bool) -> Float[np.ndarray, " bins"]:
        """Expected events of all signal, or of all background."""
        return np.sum([p.nominal for p in self.processes if p.signal == signal], axis=0)

    def errors(self, *, signal: bool) -> Float[np.ndarray, " bins"]:
        """Statistical errors of them."""
        chosen = [process.error for process in self.processes if process.signal == signal]
        return np.sqrt(np.square(chosen).sum(axis=0))


def templates(filled: Filled, systematics: Systematics) -> Templates:
    """Of the bins of each process, as they are and as they would be.

    Args:
        filled: contents of the bins.
        systematics: processes, and sources of uncertainty.

    Raises:
        InputError: if a variation leaves a bin without background, or negative.
    """
    processes, sources = systematics.processes, systematics.sources
    for source in sources:
        _check(source, filled.varied[source.name], filled.contents, processes)
    found = []
    for i, name in enumerate(processes.names):
        contents, error = filled.contents[i], np.sqrt(filled.variance[i])
        effects = {
            source.name: _effect(source, filled.varied[source.name][:, i], contents)
            for source in sources
            if i in source.processes
        }
        acting = {key: effect for key, effect in effects.items() if _acts(effect)}
        found.append(Template(name, bool(processes.signal[i]), contents, error, acting))
    acting_sources = [s.name for s in sources if any(s.name in t.effects for t in found)]
    return Templates(tuple(found), tuple(acting_sources))


def _check(
    source: Source,
    varied: Float[np.ndarray, "2 processes bins"],
    nominal: Float[np.ndarray, "processes bins"],
    processes: Processes,
) -> None:
    for name, direction in zip(("down", "up"), varied, strict=True):
        for of_class, is_signal in (("signal", True), ("background", False)):
            chosen = processes.signal == is_signal
            total, before = direction[chosen].sum(axis=0), nominal[chosen].sum(axis=0)
            broken = np.flatnonzero(total < 0 if is_signal else total <= 0)
            if broken.size:
                bins = broken.tolist()
                raise InputError(
                    f"inference: systematics.{source.name}, {name}: {of_class} of "
                    f"{total[bins[0]]:.4g} events in bin {bins[0]} of {len(total)} (nominal "
                    f"{before[bins[0]]:.4g}); {_mend(bins, len(total))}"
                )


def _mend(broken: list[int], bins: int) -> str:
    if bins == 1:
        return "a change of that size has no template: check the variation"
    pairs = ", ".join(f"{i} with {i - 1 if i else 1}" for i in broken)
    return (
        f"merge bin {pairs} (fewer inference.bins, or a larger inference.minimum_background), or "
        "simulate more events"
    )


def _effect(
    source: Source, varied: Float[np.ndarray, "2 bins"], nominal: Float[np.ndarray, " bins"]
) -> Effect:
    if isinstance(source.change, Normalisation):
        return Effect((1 + source.change.down, 1 + source.change.up), None)
    factors, shifts = split(varied, nominal)
    flat = np.all(np.abs(shifts) <= NO_SHAPE * np.abs(nominal))
    return Effect((float(factors[0]), float(factors[1])), None if flat else shifts)


def split(
    varied: Float[np.ndarray, "2 *sets bins"], nominal: Float[np.ndarray, "*sets bins"]
) -> tuple[Float[np.ndarray, " 2 *sets"], Float[np.ndarray, "2 *sets bins"]]:
    """Factor and shape of a change; a process whose sum has no ratio is shifted as a whole."""
    total, sums = nominal.sum(axis=-1), varied.sum(axis=-1)
    defined = (total > 0) & (sums > 0).all(axis=0)
    factors = np.where(defined, sums / np.where(defined, total, 1.0), 1.0)
    return factors, varied / factors[..., None] - nominal


def _acts(effect: Effect) -> bool:
    return effect.shifts is not None or effect.factors != (1.0, 1.0)


def model_of(made: Templates) -> Model:
    """The likelihood's model of the templates, one set."""
    nominal = np.stack([process.nominal for process in made.processes])
    number, bins = nominal.shape
    factors = np.ones((2, 1, number, len(made.sources)))
    shifts = np.zeros((2, 1, number, len(made.sources), bins))
    for i, process in enumerate(made.processes):
        for name, effect in process.effects.items():
            k = made.sources.index(name)
            factors[:, 0, i, k] = effect.factors
            if effect.shifts is not None:
                shifts[:, 0, i, k] = effect.shifts
    error = made.errors(signal=False) / made.contents(signal=False)
    return Model(nominal[None], made.signal, error[None], factors, shifts)
