"""What is said of a signal that interferes: the content of ``interference/<method>.json``."""

from dataclasses import dataclass
from typing import Literal

from pydantic import TypeAdapter

from hepml.inference.metrics import Estimate
from hepml.inference.quantities import Measured

Estimator = Literal["unbinned", "binned", "counting", "all events"]
Intervals = list[tuple[float, float]]


@dataclass(frozen=True)
class MuIntervals:
    """Sets of µ, each of one or several intervals; they end at 0 and at the largest µ.

    Attributes:
        wilks: where t(µ) is below the quantile of χ² with one degree of freedom.
        neyman: where it is below the quantile of toys drawn at µ; None without toys.
    """

    level: float
    wilks: Intervals
    neyman: Intervals | None


@dataclass(frozen=True)
class InterferenceFit:
    """One estimator on µ = 1 Asimov data, which the events of SBI are, or on data.

    Attributes:
        estimator: every event by itself, bins, the count of what passes the cuts, or of all.
        mu: best fit; of Asimov data with its bootstrap error, and its distance from 1 is the bias
            of a learned ratio. For data the error is None.
        sigma: of µ at µ = 1, from the information in the expected events.
        significance: √t(0), by which µ = 0 is disfavoured.
        intervals: at 68.3 % and 95 %.
        curve: µ and t(µ).
    """

    estimator: Estimator
    mu: Measured
    sigma: float
    significance: Measured
    intervals: list[MuIntervals]
    curve: tuple[list[float], list[float]]


@dataclass(frozen=True)
class Interfering:
    """All fits of one method.

    Attributes:
        yields: expected events of signal, sbi and background, and of the interference, which is
            sbi less the other two, with errors of the simulation.
        constants: by which the ratios of S and SBI had to be multiplied; 1 for exact ones. None
            for cuts.
        cut_back: mean change of the density of SBI at its events, relative, where the learned
            interference was beyond ±2√(SB); None for cuts.
        largest_mu: up to which µ was looked at.
        toys: for each µ; 0: no intervals by Neyman's construction.
        expected: fits to Asimov data.
        observed: fits to data; None while the analysis is blind, or without data.
    """

    method: str
    title: str
    yields: dict[str, Estimate]
    constants: tuple[Estimate, Estimate] | None
    cut_back: float | None
    largest_mu: float
    toys: int
    expected: list[InterferenceFit]
    observed: list[InterferenceFit] | None
    warnings: list[str]


INTERFERING = TypeAdapter(Interfering)  # reads and writes the JSON
