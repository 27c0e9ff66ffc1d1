"""Newton's method for many likelihoods side by side."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from hepml.errors import InputError

STEPS = 200  # at most
CONVERGED = 1e-20  # squared length of a step in standard errors
ROUNDING = 1e-8  # below which a step that no longer shrinks is rounding
HALVINGS = 50
LONGEST = 3.0  # standard deviations of a nuisance parameter in one step

At = Float[np.ndarray, "sets parameters"]


@runtime_checkable
class Likelihood(Protocol):
    """-2 ln L of many data sets in the parameters µ, α₁, α₂, ..."""

    def value(self, at: At) -> Float[np.ndarray, " sets"]:
        """-2 ln L; infinite where the model is not defined."""

    def derivatives(
        self, at: At
    ) -> tuple[
        At,
        Float[np.ndarray, "sets parameters parameters"],
        Float[np.ndarray, "sets parameters parameters"],
    ]:
        """Gradient and Hessian of -ln L, and a positive definite matrix close to the Hessian."""


def minimise(likelihood: Likelihood, start: At, free: Bool[np.ndarray, "sets parameters"]) -> At:
    """Where -2 ln L of each set is least.

    The matrix close to the Hessian takes its place where that has a negative eigenvalue; steps are
    halved where they would not lower -2 ln L.

    Args:
        likelihood: of all sets.
        start: where -2 ln L is finite.
        free: which parameters move; the others stay where they start.

    Raises:
        InputError: if a set does not converge, or starts where the model is not defined.
    """
    at, value = start.copy(), likelihood.value(start)
    if not np.isfinite(value).all():
        raise InputError(
            f"inference: -2 ln L is not finite at µ, α = {start[~np.isfinite(value)][0].tolist()}, "
            "where a variation leaves a bin without background; merge bins (fewer inference.bins), "
            "or simulate more events"
        )
    before = np.full(len(at), np.inf)
    for _ in range(STEPS):
        gradient, step = _step(likelihood, at, free)
        length = -(gradient * step).sum(axis=1)
        stalled = (length < ROUNDING) & (length > 0.25 * before)
        done = (length < CONVERGED) | stalled
        if done.all():
            return at
        before = length
        at, value = _lowered(likelihood, at, np.where(done[:, None], 0.0, step), value)
    raise InputError(
        f"inference: a fit does not converge in {STEPS} steps; the last would go "
        f"{step[~done][0].tolist()} from µ, α = {at[~done][0].tolist()}; look for variations that "
        "change a bin by more than it holds, and merge bins (fewer inference.bins)"
    )


def fit_with_errors(
    likelihood: Likelihood, free: Bool[np.ndarray, " parameters"]
) -> tuple[Float[np.ndarray, " parameters"], Float[np.ndarray, " parameters"]]:
    """Best fit of one data set, searched for from µ = 1 and α = 0, and errors by the curvature.

    Args:
        likelihood: of one set.
        free: which parameters are fitted; the others stay there, with error 0.
    """
    start = np.zeros((1, len(free)))
    start[:, 0] = 1.0
    at = minimise(likelihood, start, free[None])
    _, hessian, _ = likelihood.derivatives(at)
    return at[0], np.sqrt(np.diagonal(covariance(hessian, free[None])[0]))


def covariance(
    hessian: Float[np.ndarray, "sets parameters parameters"],
    free: Bool[np.ndarray, "sets parameters"],
) -> Float[np.ndarray, "sets parameters parameters"]:
    """Inverse of the Hessian in the free parameters; zero in the others."""
    both = free[:, :, None] & free[:, None, :]
    scale = np.sqrt(np.where(free, np.diagonal(hessian, axis1=1, axis2=2), 1.0))
    scaled = np.where(both, hessian / (scale[:, :, None] * scale[:, None, :]), 0.0)
    inverse = np.linalg.inv(scaled + _diagonal(~free))
    return np.where(both, inverse / (scale[:, :, None] * scale[:, None, :]), 0.0)


def _diagonal(values: Bool[np.ndarray, "sets parameters"]) -> np.ndarray:
    return values[:, :, None] * np.eye(values.shape[1])


def _step(
    likelihood: Likelihood, at: At, free: Bool[np.ndarray, "sets parameters"]
) -> tuple[At, At]:
    """Gradient in the free parameters, and Newton's step."""
    gradient, hessian, close = likelihood.derivatives(at)
    gradient = np.where(free, gradient, 0.0)
    both = free[:, :, None] & free[:, None, :]
    # in units in which the diagonal is one: µ may be of any size
    scale = np.sqrt(np.where(free, np.diagonal(close, axis1=1, axis2=2), 1.0))
    units = scale[:, :, None] * scale[:, None, :]
    matrices = [np.where(both, m / units, 0.0) + _diagonal(~free) for m in (hessian, close)]
    lowest = np.linalg.eigvalsh(matrices[0])[:, 0]
    matrix = np.where((lowest > 1e-9)[:, None, None], *matrices)
    step = -np.linalg.solve(matrix, (gradient / scale)[..., None])[..., 0] / scale
    longest = np.abs(step[:, 1:]).max(axis=1, initial=0.0)
    return gradient, step * np.minimum(1.0, LONGEST / np.maximum(longest, LONGEST))[:, None]


def _lowered(
    likelihood: Likelihood, at: At, step: At, value: Float[np.ndarray, " sets"]
) -> tuple[At, Float[np.ndarray, " sets"]]:
    """A step, halved until no set gets worse than rounding makes it."""
    share = np.ones(len(value))
    for _ in range(HALVINGS):
        there = at + share[:, None] * step
        new = likelihood.value(there)
        worse = ~(new <= value + 1e-12 * np.abs(value))
        if not worse.any():
            return there, new
        share = np.where(worse, share / 2, share)
    return np.where(worse[:, None], at, there), np.where(worse, value, new)
