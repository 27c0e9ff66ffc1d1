"""The answer of an analysis in words: does any network find more than the cuts?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hepml.inference.quantities import signed, with_error

Row = Mapping[str, Any]

CLEAR = 2.0  # standard errors from which a difference is called a gain or a loss


@dataclass(frozen=True)
class Answer:
    """What was found: a verdict in a few words, and the sentences that tell it."""

    verdict: str
    sentences: tuple[str, ...]


def answer(comparison: Mapping[str, Any], luminosity: float) -> Answer:
    """Compare the best network with the cuts by the paired difference of their significances.

    Both count the events beyond a selection that one optimiser found for one goal, so that a
    network only gains if its score is better (docs/decisions/0005). A difference of less than two
    standard errors is not called a gain.

    Args:
        comparison: content of ``comparison.json``.
        luminosity: [fb⁻¹].
    """
    rows: Sequence[Row] = comparison["rows"]
    cuts = next(row for row in rows if row["method"] == comparison["baseline"])
    networks = [row for row in rows if row is not cuts and row["delta_z_counting"] is not None]
    z = with_error(cuts["z_counting"], cuts["z_counting_error"])
    expects = (
        f"At {luminosity:g} fb⁻¹ the optimised cuts expect to see the signal with a significance "
        f"of Z = {z}, by counting the events they keep."
    )
    if not networks:
        nothing = "No network was evaluated, so nothing can be said about a gain."
        return Answer("No network to compare with", (expects, nothing))
    best = max(networks, key=lambda row: row["delta_z_counting"])
    verdict, sentences = _judged(best)
    told = [expects, *sentences, *_by_shape(best)]
    if len(networks) > 1:
        told.append(
            f"It is the best of {len(networks)} networks, picked by this very number, which "
            "flatters it a little."
        )
    return Answer(verdict, tuple(told))


def _judged(best: Row) -> tuple[str, list[str]]:
    """The verdict about the best network, and the sentences that give the numbers."""
    gain, error = best["delta_z_counting"], best["delta_z_counting_error"]
    z = with_error(best["z_counting"], best["z_counting_error"])
    difference = f"ΔZ = {signed(gain, error)}"
    expects = f"The network that does best, {best['title']}, expects Z = {z} beyond its threshold"
    if gain == 0 and error == 0:
        return f"No gain: {difference}", [f"{expects}, and so exactly what the cuts expect."]
    if not error:
        return "A difference of unknown error", [
            f"{expects}: {difference}. The error of this difference is not known, so nothing can "
            "be said about whether it is a gain."
        ]
    multiple = abs(gain) / error
    size = f"{multiple:.{1 if multiple < 10 else 0}f} times its error"
    if gain >= CLEAR * error:
        return f"A network gains: {difference}", [
            f"{expects}: a gain of {difference} on the very same simulated events, {size}.",
            _luminosity_for_cuts(best["luminosity_factor"]),
        ]
    if gain <= -CLEAR * error:
        return f"The cuts do better: {difference}", [
            f"{expects}, less than the cuts: {difference} on the very same simulated events, "
            f"{size}."
        ]
    return f"No significant gain: {difference}", [
        f"{expects}. The difference, {difference} on the very same simulated events, is {size} "
        "and so compatible with no gain at all."
    ]


def _luminosity_for_cuts(factor: float | None) -> str:
    """What counting with the cuts, their relative uncertainty unchanged, would need."""
    if factor is None:
        return "Not even 10\u202f000 times the luminosity would bring the cuts there."
    return f"To reach this the cuts would need {factor:.3g} times the luminosity."


def _by_shape(best: Row) -> list[str]:
    """The binned fit, which is not like for like."""
    if best["delta_z_binned"] is None:
        return []
    difference = signed(best["delta_z_binned"], best["delta_z_binned_error"])
    return [
        f"With what the shape of its score adds, in a fit to bins of it, ΔZ = {difference}; the "
        "cuts have but two bins there, so that this is not like for like."
    ]
