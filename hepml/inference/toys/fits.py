"""The binned likelihood of toy data sets, whose auxiliary measurements fluctuate like the data.

    n_i ~ Poisson(µ s_i + γ_i κ(α) b_i),  g_i ~ Normal(γ_i, r_i),  a ~ Normal(α, 1)

is that of :mod:`hepml.inference.likelihood`, where g = 1 and a = 0 were measured. Thousands of data
sets are fitted side by side; γ has a closed form for given µ and α.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hepml.inference.counting import entropy_excess
from hepml.inference.interpolation import BackgroundScale

_STEPS = 80  # of Newton's method at most
_PRECISION = 1e-10  # of -2 ln L between two steps
_LEAST = 1e-150  # of a bin that signal of negative strength would empty


@dataclass(frozen=True)
class ToyModel:
    """What is expected in the bins.

    Attributes:
        signal: expected events s ≥ 0.
        background: expected events b > 0.
        relative_error: r of the simulated background.
        uncertainty: relative, of the background normalisation; 0 for none.
    """

    signal: Float[np.ndarray, " bins"]
    background: Float[np.ndarray, " bins"]
    relative_error: Float[np.ndarray, " bins"]
    uncertainty: float


@dataclass(frozen=True)
class ToyData:
    """Data sets with their auxiliary measurements: counts n, of γ: g, and of α: a."""

    counts: Float[np.ndarray, "sets bins"]
    gamma: Float[np.ndarray, "sets bins"]
    alpha: Float[np.ndarray, " sets"]


@dataclass(frozen=True)
class ToyFit:
    """Best fit of each set, with -2 ln L over that of a perfect fit without pulls.

    ``sigma_mu`` is from the curvature; it has no meaning where µ was fixed.
    """

    mu: Float[np.ndarray, " sets"]
    alpha: Float[np.ndarray, " sets"]
    gamma: Float[np.ndarray, "sets bins"]
    value: Float[np.ndarray, " sets"]
    sigma_mu: Float[np.ndarray, " sets"]


def asimov_toy(model: ToyModel, mu: float) -> ToyData:
    """One set in which everything is as expected."""
    counts = mu * model.signal + model.background
    return ToyData(counts[None], np.ones((1, len(counts))), np.zeros(1))


def fit_toys(
    model: ToyModel,
    data: ToyData,
    mu: float | None = None,
    start: tuple[Float[np.ndarray, " sets"], Float[np.ndarray, " sets"]] | None = None,
) -> ToyFit:
    """Maximise the likelihood of each set in µ, α and γ, or at a given µ.

    Newton's method in µ and α with the Hessian of a linear expectation, γ eliminated; steps are
    halved where they would not lower -2 ln L.

    Args:
        model: what is expected.
        data: sets.
        mu: fixed if given.
        start: µ and α to begin with; µ = 1 (or as fixed) and the measured α by default.

    Raises:
        ValueError: if a fit does not converge.
    """
    scale = BackgroundScale(model.uncertainty)
    sets = len(data.counts)
    at = np.stack(start or (np.full(sets, 1.0 if mu is None else mu), data.alpha))
    free = np.array([mu is None, model.uncertainty > 0])
    value, _ = _value(model, data, at, scale)
    running = np.arange(sets)
    for _ in range(_STEPS):
        some = ToyData(data.counts[running], data.gamma[running], data.alpha[running])
        gradient, hessian = _derivatives(model, some, at[:, running], scale)
        step = _newton_step(gradient, hessian, free)
        at[:, running], new = _lowered(model, some, (at[:, running], value[running]), step, scale)
        gain = value[running] - new
        value[running] = new
        running = running[gain > _PRECISION * np.maximum(1, np.abs(new))]
        if not running.size:
            break
    else:
        raise ValueError(f"toys: {running.size} of {sets} fits do not converge in {_STEPS} steps")
    _, hessian = _derivatives(model, data, at, scale)
    information = hessian[0, 0] - (hessian[0, 1] ** 2 / hessian[1, 1] if free[1] else 0.0)
    _, gamma = _value(model, data, at, scale)
    return ToyFit(at[0], at[1], gamma, value, 1 / np.sqrt(np.maximum(information, 1e-300)))


def discovery_q(model: ToyModel, data: ToyData) -> Float[np.ndarray, " sets"]:
    """q₀ of each set: -2 ln L(µ = 0)/L(µ̂), and 0 where µ̂ < 0."""
    without = fit_toys(model, data, 0.0)
    gradient, _ = _derivatives(
        model, data, np.stack([without.mu, without.alpha]), BackgroundScale(model.uncertainty)
    )
    excess = gradient[0] < 0  # -ln L falls with µ
    q = np.zeros(len(excess))
    if excess.any():
        some = ToyData(data.counts[excess], data.gamma[excess], data.alpha[excess])
        best = fit_toys(model, some, start=(np.zeros(len(some.alpha)), without.alpha[excess]))
        q[excess] = np.maximum(without.value[excess] - best.value, 0.0)
    return q


def _value(
    model: ToyModel, data: ToyData, at: Float[np.ndarray, "2 sets"], scale: BackgroundScale
) -> tuple[Float[np.ndarray, " sets"], Float[np.ndarray, "sets bins"]]:
    """-2 ln L over that of a perfect fit, and γ."""
    signal = at[0][:, None] * model.signal
    background = scale(at[1])[:, None] * model.background
    gamma = _profiled_gamma(signal, background, data, model.relative_error)
    fitted = np.maximum(signal + gamma * background, _LEAST)
    poisson = fitted * entropy_excess((data.counts - fitted) / fitted)
    error = np.broadcast_to(model.relative_error, gamma.shape)
    pull = np.divide(gamma - data.gamma, error, out=np.zeros_like(gamma), where=error > 0)
    alpha = (at[1] - data.alpha) ** 2 if model.uncertainty else 0.0
    return 2 * poisson.sum(axis=1) + (pull**2).sum(axis=1) + alpha, gamma


def _profiled_gamma(
    signal: Float[np.ndarray, "sets bins"],
    background: Float[np.ndarray, "sets bins"],
    data: ToyData,
    relative_error: Float[np.ndarray, " bins"],
) -> Float[np.ndarray, "sets bins"]:
    """Larger root of b - nb/(s + γb) + (γ - g)/r² = 0, no less than 0."""
    variance = background * relative_error**2
    linear = signal + background * (variance - data.gamma)
    constant = signal * (variance - data.gamma) - data.counts * variance
    root = np.sqrt(np.maximum(linear**2 - 4 * background * constant, 0.0))
    # of the two forms of the larger root, the one in which nothing cancels
    with np.errstate(divide="ignore", invalid="ignore"):
        large = -2 * constant / (linear + root)
    found = np.where(linear > 0, large, (root - linear) / (2 * background))
    return np.where(relative_error > 0, np.maximum(found, 0.0), data.gamma)


def _derivatives(
    model: ToyModel, data: ToyData, at: Float[np.ndarray, "2 sets"], scale: BackgroundScale
) -> tuple[Float[np.ndarray, "2 sets"], Float[np.ndarray, "2 2 sets"]]:
    """Of -ln L by µ and α, γ eliminated, without second derivatives of the expectation."""
    _, gamma = _value(model, data, at, scale)
    background = scale(at[1])[:, None] * model.background
    fitted = np.maximum(at[0][:, None] * model.signal + gamma * background, _LEAST)
    surplus, weight = 1 - data.counts / fitted, data.counts / fitted**2
    by_alpha = gamma * scale.slope(at[1])[:, None] * model.background
    gradient = np.stack(
        [
            (surplus * model.signal).sum(axis=1),
            (surplus * by_alpha).sum(axis=1) + at[1] - data.alpha,
        ]
    )
    weight = weight / (1 + weight * (model.relative_error * background) ** 2)
    mixed = (weight * model.signal * by_alpha).sum(axis=1)
    hessian = np.array(
        [
            [(weight * model.signal**2).sum(axis=1), mixed],
            [mixed, (weight * by_alpha**2).sum(axis=1) + 1],
        ]
    )
    return gradient, hessian


def _newton_step(
    gradient: Float[np.ndarray, "2 sets"],
    hessian: Float[np.ndarray, "2 2 sets"],
    free: np.ndarray,
) -> Float[np.ndarray, "2 sets"]:
    """Minus H⁻¹ times the gradient, over the free parameters."""
    first = np.maximum(hessian[0, 0], 1e-12)
    if not free[1]:
        return np.stack([-gradient[0] / first * free[0], np.zeros_like(gradient[1])])
    if not free[0]:
        return np.stack([np.zeros_like(gradient[0]), -gradient[1] / hessian[1, 1]])
    determinant = np.maximum(first * hessian[1, 1] - hessian[0, 1] ** 2, 1e-12)
    return np.stack(
        [
            (hessian[0, 1] * gradient[1] - hessian[1, 1] * gradient[0]) / determinant,
            (hessian[0, 1] * gradient[0] - first * gradient[1]) / determinant,
        ]
    )


def _lowered(
    model: ToyModel,
    data: ToyData,
    now: tuple[Float[np.ndarray, "2 sets"], Float[np.ndarray, " sets"]],
    step: Float[np.ndarray, "2 sets"],
    scale: BackgroundScale,
) -> tuple[Float[np.ndarray, "2 sets"], Float[np.ndarray, " sets"]]:
    """A step, halved where it would not lower -2 ln L; sets that cannot fall stay."""
    at, value = now
    share = np.ones(len(value))
    for _ in range(40):
        there = at + share * step
        new, _ = _value(model, data, there, scale)
        worse = ~(new <= value)
        if not worse.any():
            break
        share = np.where(worse, share / 2, share)
    return np.where(worse, at, there), np.where(worse, value, new)
