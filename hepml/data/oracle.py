"""Toy problems with a known answer: the exact log-likelihood ratio of eight variables.

A trained network can be compared event by event with the best score there is (Neyman–Pearson).

- ``shift``: S = N(Δ, 1), B = N(0, 1) in eight dimensions with |Δ| = 1.5, the same in each
  variable. A linear score is optimal.
- ``scale``: S = N(0, 1.5 · 1), B = N(0, 1). No linear score separates them.
- ``xor``: in x0 and x1, with a = 1.2, S = ½N((a, a), 1) + ½N((-a, -a), 1) and
  B = ½N((a, -a), 1) + ½N((-a, a), 1); x2 to x7 are noise. No single variable separates them.
"""

import math
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Float
from scipy.integrate import quad
from scipy.stats import chi2, f, norm

Toy = Literal["shift", "scale", "xor"]

DIMENSIONS = 8
NAMES = tuple(f"x{i}" for i in range(DIMENSIONS))
SHIFT = 1.5  # |Δ|
VARIANCE = 1.5
OFFSET = 1.2  # a

# the trapezium rule converges exponentially for a normal variable
_NORMAL = np.linspace(-10, 10, 801)
_PROBABILITY = norm.pdf(_NORMAL) * (_NORMAL[1] - _NORMAL[0])

Numbers = TypeVar("Numbers", float, Float[np.ndarray, " events"])


@dataclass(frozen=True)
class Optimum:
    """What the exact log-likelihood ratio reaches.

    Attributes:
        auc: area under its ROC curve.
        kl_signal: E_S[LLR] = KL(S‖B) [nats].
        kl_background: -E_B[LLR] = KL(B‖S) [nats].
        bce: its binary cross-entropy at equal priors [nats], ln 2 minus the Jensen–Shannon
            divergence; no classifier is below it.
    """

    auc: float
    kl_signal: float
    kl_background: float
    bce: float


def draw(
    toy: Toy, signal: bool, events: int, random: np.random.Generator
) -> Float[np.ndarray, "events 8"]:
    """Independent events of one class.

    Args:
        toy: which problem.
        signal: which class.
        events: how many.
        random: where they are drawn from.
    """
    x = random.standard_normal((events, DIMENSIONS))
    if toy == "xor":
        corner = OFFSET * random.choice([-1.0, 1.0], events)
        x[:, 0] += corner
        x[:, 1] += corner if signal else -corner
    elif signal:
        x = x + SHIFT / np.sqrt(DIMENSIONS) if toy == "shift" else x * np.sqrt(VARIANCE)
    return x


def exact_llr(toy: Toy, x: Float[np.ndarray, "events 8"]) -> Float[np.ndarray, " events"]:
    """Return ln p(x|S) / p(x|B)."""
    if toy == "shift":
        return x.sum(axis=1) * SHIFT / np.sqrt(DIMENSIONS) - SHIFT**2 / 2
    if toy == "scale":
        return _scale_llr(np.sum(x**2, axis=1))
    along, across = OFFSET * (x[:, 0] + x[:, 1]), OFFSET * (x[:, 0] - x[:, 1])
    return _log_cosh(along) - _log_cosh(across)


def optimum(toy: Toy) -> Optimum:
    """The best any score can do on a toy."""
    return {"shift": _shift_optimum, "scale": _scale_optimum, "xor": _xor_optimum}[toy]()


def _shift_optimum() -> Optimum:
    """LLR ~ N(±D²/2, D²), so AUC = Φ(D/√2)."""
    divergence = SHIFT**2 / 2
    # by symmetry the same in B
    bce = float(_PROBABILITY @ np.logaddexp(0, -divergence - SHIFT * _NORMAL))
    return Optimum(float(norm.cdf(SHIFT / np.sqrt(2))), divergence, divergence, bce)


def _scale_optimum() -> Optimum:
    """LLR grows with x², which is v χ²(d) in S and χ²(d) in B; their ratio follows F(d, d)."""
    d, v = DIMENSIONS, VARIANCE

    def signal_loss(squared: float) -> float:
        return float(chi2.pdf(squared, d) * np.logaddexp(0, -_scale_llr(v * squared)))

    def background_loss(squared: float) -> float:
        return float(chi2.pdf(squared, d) * np.logaddexp(0, _scale_llr(squared)))

    # beyond 200 there is less than 1e-37 of χ²(8)
    bce = 0.5 * (quad(signal_loss, 0, 200)[0] + quad(background_loss, 0, 200)[0])
    return Optimum(
        auc=float(f.sf(1 / v, d, d)),
        kl_signal=d / 2 * (v - 1 - math.log(v)),
        kl_background=d / 2 * (1 / v - 1 + math.log(v)),
        bce=bce,
    )


def _xor_optimum() -> Optimum:
    """LLR = ln cosh(b u) - ln cosh(b w), b = √2 a, u and w the coordinates turned by 45°.

    In S, u is ½N(b, 1) + ½N(-b, 1) and w is N(0, 1); in B the other way round. The AUC has no
    closed form: it is the value of a convolution by FFT, good to its last digit.
    """
    b = np.sqrt(2) * OFFSET
    shifted, centred = _log_cosh(b * (b + _NORMAL)), _log_cosh(b * _NORMAL)
    divergence = float(_PROBABILITY @ shifted - _PROBABILITY @ centred)
    loss = np.logaddexp(0, centred[None, :] - shifted[:, None])  # (u, w) of signal events
    return Optimum(0.8836121, divergence, divergence, float(_PROBABILITY @ loss @ _PROBABILITY))


def _scale_llr(squared: Numbers) -> Numbers:
    """LLR of the toy ``scale`` at x²."""
    return squared / 2 * (1 - 1 / VARIANCE) - DIMENSIONS / 2 * np.log(VARIANCE)


def _log_cosh(x: Numbers) -> Numbers:
    """Return ln cosh x, for any size of x."""
    return np.logaddexp(x, -x) - np.log(2)
