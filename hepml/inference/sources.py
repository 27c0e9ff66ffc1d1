"""Systematic uncertainties as the inference sees them: events as they would be."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Integer

from hepml.errors import InputError
from hepml.inference.events import Events

BACKGROUND = "background_normalisation"  # the source that inference.background_uncertainty is


@dataclass(frozen=True)
class Processes:
    """Signal and background of each sample.

    Attributes:
        names: of the samples, with the class behind it where a sample has both.
        signal: which are signal.
        sample: number of the sample of each.
        of_event: number of the process of each event.
    """

    names: tuple[str, ...]
    signal: Bool[np.ndarray, " processes"]
    sample: Integer[np.ndarray, " processes"]
    of_event: Integer[np.ndarray, " events"]


@dataclass(frozen=True)
class Copy:
    """Events of the processes concerned under one variation.

    Attributes:
        events: with their varied weights.
        process: number of the process of each event.
        variables: one row per cut, or the log-likelihood ratio.
    """

    events: Events
    process: Integer[np.ndarray, " events"]
    variables: Float[np.ndarray, "cuts events"]


@dataclass(frozen=True)
class Normalisation:
    """Relative changes of the yields, down and up."""

    down: float
    up: float


@dataclass(frozen=True)
class Copies:
    """Both variations; without ``down``, that is as far below the nominal yields as up is above."""

    up: Copy
    down: Copy | None


@dataclass(frozen=True)
class Source:
    """One systematic uncertainty, with one nuisance parameter.

    Attributes:
        name: of the nuisance parameter.
        title: in tables and figures.
        processes: numbers of those concerned.
        change: what it does to them.
    """

    name: str
    title: str
    processes: tuple[int, ...]
    change: Normalisation | Copies


@dataclass(frozen=True)
class Systematics:
    """All processes, and every source of uncertainty but the statistics of the simulation."""

    processes: Processes
    sources: tuple[Source, ...]


def processes_of(
    names: tuple[str, ...],
    sample: Integer[np.ndarray, " events"],
    signal: Bool[np.ndarray, " events"],
) -> Processes:
    """Signal and background of each sample, as far as they have events.

    Args:
        names: of the samples.
        sample: number of the sample of each event.
        signal: True for signal.
    """
    keys = 2 * sample + ~signal  # of one sample, the signal first
    found, of_event = np.unique(keys, return_inverse=True)
    both = {int(key) // 2 for key in found if (key ^ 1) in found}
    labels = [
        names[key // 2] + (("_background" if key % 2 else "_signal") if key // 2 in both else "")
        for key in found.tolist()
    ]
    return Processes(tuple(labels), found % 2 == 0, found // 2, of_event)


def varied_contents(
    source: Source,
    nominal: Float[np.ndarray, "*replicas processes cells"],
    fill: Callable[[Copy], Float[np.ndarray, "*replicas processes cells"]],
) -> Float[np.ndarray, "2 *replicas processes cells"]:
    """Contents of cells under both variations, down first.

    Args:
        source: of uncertainty.
        nominal: contents; they stay where a process is not concerned.
        fill: contents by the events of a copy.
    """
    concerned = np.isin(np.arange(nominal.shape[-2]), source.processes)[:, None]
    change = source.change
    if isinstance(change, Normalisation):
        both = [(1 + relative) * nominal for relative in (change.down, change.up)]
    else:
        up = fill(change.up)
        both = [2 * nominal - up if change.down is None else fill(change.down), up]
    return np.where(concerned, np.stack(both), nominal)


def all_sources(uncertainty: float, given: Systematics | None, events: Events) -> Systematics:
    """Every source, the normalisation of the background first.

    Args:
        uncertainty: relative, of the background normalisation; 0 for none.
        given: processes, and the other sources; None for one process per class, and no others.
        events: all of them.

    Raises:
        InputError: if a source has the name of the background's normalisation.
    """
    if given is None:
        names, all_in_one = ("signal", "background"), np.zeros(2, np.int64)
        processes = Processes(names, np.array([True, False]), all_in_one, 1 - events.signal)
        given = Systematics(processes, ())
    if not uncertainty:
        return given
    if any(source.name == BACKGROUND for source in given.sources):
        raise InputError(
            f"inference: systematics.{BACKGROUND} and inference.background_uncertainty are the "
            "same; set the latter to 0, or rename the former"
        )
    concerned = tuple(int(i) for i in np.flatnonzero(~given.processes.signal))
    change = Normalisation(-uncertainty, uncertainty)
    source = Source(BACKGROUND, "Background normalisation", concerned, change)
    return Systematics(given.processes, (source, *given.sources))
