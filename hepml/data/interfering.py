"""A toy of a signal that interferes with the background, with every density known.

Of eight variables, each of unit variance, the sum along (1, ..., 1)/√8 has the mean Δ = 2 in the
signal and 0 in the background. Per µ = 1 there are 60 events of signal and 500 of background, and
the interference is I = -2ρ√(SB) with ρ = 1/2, so that the expected density of events is

    λ(µ) = µS - 2ρ√(µSB) + B,    ν(µ) = 60µ - 2ρ√(60 · 500 µ) exp(-Δ²/8) + 500.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float

from hepml.data.oracle import DIMENSIONS

Kind = Literal["signal", "sbi", "background"]

SHIFT = 2.0  # Δ
SIGNAL, BACKGROUND = 60.0, 500.0  # expected events
RHO = 0.5
# √(SB) is a normal distribution between both, times this
OVERLAP = float(np.sqrt(SIGNAL * BACKGROUND) * np.exp(-(SHIFT**2) / 8))
SBI = SIGNAL - 2 * RHO * OVERLAP + BACKGROUND  # ν(1) = 454.9458081

EVENTS: dict[Kind, float] = {"signal": SIGNAL, "sbi": SBI, "background": BACKGROUND}


def draw(kind: Kind, events: int, random: np.random.Generator) -> Float[np.ndarray, "events 8"]:
    """Independent events of S, SBI or B.

    Args:
        kind: which of the three.
        events: how many.
        random: where they are drawn from.
    """
    if kind == "sbi":
        return _together(events, random)
    x = random.standard_normal((events, DIMENSIONS))
    return x + SHIFT / np.sqrt(DIMENSIONS) if kind == "signal" else x


def exact_llr(kind: Kind, x: Float[np.ndarray, "events 8"]) -> Float[np.ndarray, " events"]:
    """Return ln p(x|kind) / p(x|B)."""
    of_signal = x.sum(axis=1) * SHIFT / np.sqrt(DIMENSIONS) - SHIFT**2 / 2
    if kind == "signal":
        return of_signal
    if kind == "background":
        return 0 * of_signal
    ratio = SIGNAL / BACKGROUND * np.exp(of_signal)
    return np.log((ratio - 2 * RHO * np.sqrt(ratio) + 1) * BACKGROUND / SBI)


def _together(events: int, random: np.random.Generator) -> Float[np.ndarray, "events 8"]:
    """Of S + B without interference, so many are kept that there is SBI left: (S+I+B)/(S+B)."""
    kept: list[Float[np.ndarray, "some 8"]] = []
    while sum(map(len, kept)) < events:
        x = random.standard_normal((events, DIMENSIONS))
        of_signal = random.random(events) < SIGNAL / (SIGNAL + BACKGROUND)
        x[of_signal] += SHIFT / np.sqrt(DIMENSIONS)
        ratio = SIGNAL / BACKGROUND * np.exp(exact_llr("signal", x))
        left = 1 - 2 * RHO * np.sqrt(ratio) / (ratio + 1)
        kept.append(x[random.random(events) < left])
    return np.concatenate(kept)[:events]
