"""The answer of an analysis in words: does any network find more than the cuts?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hepml.plots.quantities import signed, with_error

Row = Mapping[str, Any]

CLEAR = 2.0  # standard errors from which a difference is called a gain or a loss
KINDS = {"binned": "the binned fit", "counting": "counting events beyond one threshold"}


@dataclass(frozen=True)
class Answer:
    """What was found: a verdict in a few words, and the sentences that tell it."""

    verdict: str
    sentences: tuple[str, ...]


def answer(comparison: Mapping[str, Any], luminosity: float) -> Answer:
    """Compare the best network with the cuts by the paired difference of their significances.

    A difference of less than two standard errors is not called a gain.

    Args:
        comparison: content of ``comparison.json``.
        luminosity: [fb⁻¹].
    """
    rows: Sequence[Row] = comparison["rows"]
    cuts = next(row for row in rows if row["method"] == comparison["baseline"])
    networks = [row for row in rows if row is not cuts]
    kind = next((k for k in KINDS if any(_gain(row, k) is not None for row in networks)), None)
    if kind is None:
        kind = "binned" if cuts["z_binned"] is not None else "counting"
        return Answer(
            "No network to compare with",
            (
                _expects(cuts, kind, luminosity),
                "No network was evaluated, so nothing can be said about a gain.",
            ),
        )
    best = max(
        (row for row in networks if _gain(row, kind) is not None), key=lambda row: _gain(row, kind)
    )
    verdict, sentences = _judged(best, kind)
    told = [_expects(cuts, kind, luminosity), *sentences, *_by_counting(best, kind)]
    if len(networks) > 1:
        told.append(
            f"It is the best of {len(networks)} networks, picked by this very number, which "
            "flatters it a little."
        )
    return Answer(verdict, tuple(told))


def _expects(cuts: Row, kind: str, luminosity: float) -> str:
    z = with_error(cuts[f"z_{kind}"], cuts[f"z_{kind}_error"])
    return (
        f"At {luminosity:g} fb⁻¹ the optimised cuts expect to see the signal "
        f"with a significance of Z = {z}, by {KINDS[kind]}."
    )


def _judged(best: Row, kind: str) -> tuple[str, list[str]]:
    """The verdict about the best network, and the sentences that give the numbers."""
    gain, error = _gain(best, kind), best[f"delta_z_{kind}_error"]
    title = best["title"]
    z = with_error(best[f"z_{kind}"], best[f"z_{kind}_error"])
    difference = f"ΔZ = {signed(gain, error)}"
    expects = f"The network that does best, {title}, expects Z = {z}"
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
            *_luminosity_for_cuts(best, kind),
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


def _luminosity_for_cuts(best: Row, kind: str) -> list[str]:
    """What the cuts' own binned fit, with its uncertainties, would need to get as far."""
    if kind != "binned":
        return []
    factor = best["luminosity_factor"]
    if factor is None:
        return ["With the uncertainties assumed here no luminosity would bring the cuts there."]
    return [f"To reach this the cuts would need {factor:.3g} times the luminosity."]


def _by_counting(best: Row, kind: str) -> list[str]:
    """The other estimator, where both are there."""
    if kind == "counting" or _gain(best, "counting") is None:
        return []
    difference = signed(_gain(best, "counting"), best["delta_z_counting_error"])
    return [f"By {KINDS['counting']} the same network's difference is ΔZ = {difference}."]


def _gain(row: Row, kind: str) -> Any:  # noqa: ANN401 - a float or None
    return row[f"delta_z_{kind}"]
