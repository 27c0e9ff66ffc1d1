"""Every method beside the cut-based selection, on the same events."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from scipy.optimize import brentq

from hepml.errors import InputError
from hepml.inference.counting import asimov_significance, extra_data_fraction, p_value_ratio
from hepml.inference.metrics import Estimate
from hepml.inference.results import Rejection, Result, ToyNumbers

BASELINE = "cuts"
LARGEST_LUMINOSITY_FACTOR = 1e4


@dataclass(frozen=True)
class Network:
    """What a network is and took: ``macs`` per event, seconds of all folds together."""

    parameters: int
    macs: float
    seconds: float
    device: str


@dataclass(frozen=True)
class Row:
    """One line of the comparison; None where a quantity is not defined.

    Attributes:
        p_value: one-sided, of Z counting: like for like, because the cuts and a threshold on a
            score share optimiser, goal and constraint (docs/decisions/0005).
        p_ratio: p-value of the cuts over that of the method.
        extra_data: share of additional data the cuts would need for the method's Z counting, if Z
            grows as √L: (Z/Z₀)² - 1.
        luminosity_factor: by which the luminosity must grow for counting with the cuts, their
            relative background uncertainty unchanged, to reach the method's Z counting.
        delta_z_counting: difference to the cuts, its error from paired bootstrap replicas.
        delta_z_binned: likewise; it also has what the shape of the score adds, for the cuts are
            fitted in two bins and a score in many.
        macs: multiplications with addition to score one event, mean over events.
        training_seconds: of all folds together.
        z_counting_toys: without asymptotic formulae; its error is that of the number of toys.
        z_binned_toys: likewise.
    """

    method: str
    title: str
    auc: float | None
    auc_error: float | None
    rejection_03: float | None
    rejection_03_error: float | None
    rejection_05: float | None
    rejection_05_error: float | None
    z_counting: float
    z_counting_error: float
    z_binned: float
    z_binned_error: float
    z_unbinned: float | None
    z_unbinned_error: float | None
    p_value: float
    p_ratio: float | None
    extra_data: float
    luminosity_factor: float | None
    delta_z_counting: float
    delta_z_counting_error: float
    delta_z_binned: float
    delta_z_binned_error: float
    sigma_mu: float
    signal_efficiency: float
    background_efficiency: float
    parameters: int | None
    macs: float | None
    training_seconds: float | None
    device: str | None
    z_counting_toys: float | None = None
    z_counting_toys_error: float | None = None
    z_binned_toys: float | None = None
    z_binned_toys_error: float | None = None


@dataclass(frozen=True)
class Comparison:
    """All rows, cuts first, and what a reader should know."""

    rows: list[Row]
    baseline: str
    warnings: list[str]


def compared(results: list[Result], networks: Mapping[str, Network]) -> Comparison:
    """Set all methods beside the cuts.

    Args:
        results: of all methods in any order.
        networks: what training took, by method.

    Raises:
        InputError: if there are no cuts, a method stands twice, or two were judged on different
            events or replicas.
    """
    names = [result.method for result in results]
    if names.count(BASELINE) != 1 or len(set(names)) < len(names):
        raise InputError(
            f"comparison: expected each method once and {BASELINE!r} among them, got "
            f"{', '.join(names) or 'none'}"
        )
    cuts = results[names.index(BASELINE)]
    others = [result for result in results if result is not cuts]
    for other in others:
        _check_same_events(cuts, other)
    warnings = [f"{result.title}: {text}" for result in [cuts, *others] for text in result.warnings]
    rows = []
    for result in [cuts, *others]:
        passed = cuts.working_point
        factor = luminosity_factor(
            (passed.signal.expected, passed.background.expected),
            cuts.counting_uncertainty,
            result.significance.counting.value,
        )
        if factor is None:
            warnings.append(
                f"{result.title}: not even {LARGEST_LUMINOSITY_FACTOR:,.0f} times the luminosity "
                "makes the cuts as significant by counting"
            )
        rows.append(_row(result, cuts, networks.get(result.method), factor))
    return Comparison(rows, BASELINE, warnings)


def with_toys(comparison: Comparison, toys: list[ToyNumbers]) -> Comparison:
    """The same with significances from toys, where there are any."""
    found = {numbers.method: numbers for numbers in toys}
    rows = []
    for row in comparison.rows:
        numbers = found.get(row.method)
        rows.append(row if numbers is None else _row_with_toys(row, numbers))
    return replace(comparison, rows=rows)


def _row_with_toys(row: Row, numbers: ToyNumbers) -> Row:
    return replace(
        row,
        z_counting_toys=numbers.counting.value,
        z_counting_toys_error=numbers.counting.error,
        z_binned_toys=numbers.binned.value,
        z_binned_toys_error=numbers.binned.error,
    )


def _check_same_events(first: Result, second: Result) -> None:
    for what, mine, theirs in (
        ("events", first.events_digest, second.events_digest),
        ("background uncertainties", first.background_uncertainty, second.background_uncertainty),
        ("bootstrap seeds", first.seed, second.seed),
        ("numbers of replicas", len(first.replicas.binned), len(second.replicas.binned)),
    ):
        if mine != theirs:
            raise InputError(
                f"comparison: {first.method} and {second.method} were judged on different {what} "
                f"({mine} and {theirs}); run the inference of both again on the same data"
            )


def _row(result: Result, cuts: Result, network: Network | None, factor: float | None) -> Row:
    counting, binned = result.significance.counting, result.significance.binned
    reference = cuts.significance
    ratio = p_value_ratio(counting.value, reference.counting.value)
    unbinned, unbinned_error = _value_and_error(result.significance.unbinned)
    auc, auc_error = _value_and_error(result.auc)
    low, low_error = _value_and_error(result.rejection.get("0.3"))
    high, high_error = _value_and_error(result.rejection.get("0.5"))
    return Row(
        method=result.method,
        title=result.title,
        auc=auc,
        auc_error=auc_error,
        rejection_03=low,
        rejection_03_error=low_error,
        rejection_05=high,
        rejection_05_error=high_error,
        z_counting=counting.value,
        z_counting_error=counting.error,
        z_binned=binned.value,
        z_binned_error=binned.error,
        z_unbinned=unbinned,
        z_unbinned_error=unbinned_error,
        p_value=result.p_value,
        p_ratio=ratio if np.isfinite(ratio) else None,
        extra_data=extra_data_fraction(counting.value, reference.counting.value),
        luminosity_factor=factor,
        delta_z_counting=counting.value - reference.counting.value,
        delta_z_counting_error=_paired_error(result.replicas.counting, cuts.replicas.counting),
        delta_z_binned=binned.value - reference.binned.value,
        delta_z_binned_error=_paired_error(result.replicas.binned, cuts.replicas.binned),
        sigma_mu=result.mu.sigma,
        signal_efficiency=result.working_point.signal_efficiency.value,
        background_efficiency=result.working_point.background_efficiency.value,
        parameters=network.parameters if network else None,
        macs=network.macs if network else None,
        training_seconds=network.seconds if network else None,
        device=network.device if network else None,
    )


def _value_and_error(number: Estimate | Rejection | None) -> tuple[float | None, float | None]:
    return (number.value, number.error) if number else (None, None)


def _paired_error(first: list[float], second: list[float]) -> float:
    """Spread of the differences of two methods on the same replicas."""
    return float(np.std(np.subtract(first, second), ddof=1))


def luminosity_factor(
    passed: tuple[float, float], background_uncertainty: float, target: float
) -> float | None:
    """By which the luminosity must grow for a counting experiment to reach a significance.

    Yields grow with luminosity, the relative uncertainty of the background stays. Significance
    then levels off, and may never get there. It never grows faster than √L, so that
    (target/Z₀)², with Z₀ for a known background, is too little.

    Args:
        passed: signal and background, both > 0.
        background_uncertainty: relative.
        target: Z > 0 to be reached.

    Returns:
        The factor, below 1 if the experiment is already beyond; None if it is above 10,000.
    """

    def significance(factor: float, uncertainty: float) -> float:
        s, b = (np.array([factor * x]) for x in passed)
        return float(asimov_significance(s, b, uncertainty * b)[0])

    def excess(log_factor: float) -> float:
        return significance(np.exp(log_factor), background_uncertainty) - target

    lowest = 2 * np.log(target / significance(1.0, 0.0)) - 1
    highest = np.log(LARGEST_LUMINOSITY_FACTOR)
    if excess(highest) < 0:
        return None
    return float(np.exp(brentq(excess, lowest, highest, xtol=1e-9)))
