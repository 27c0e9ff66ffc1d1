"""The binned likelihood of µ and any number of nuisance parameters, for many data sets at once.

It is HistFactory's, as :mod:`hepml.inference.workspace` gives it to pyhf:

    n_i ~ Poisson(µ S_i(α) + γ_i B_i(α)),  g_i ~ Normal(γ_i, r_i),  a_k ~ Normal(α_k, 1)

with r_i the relative statistical error of the simulated background of bin i (``staterror``), and
auxiliary measurements g = 1 and a = 0 but in toys. S and B are sums over processes of
κ(α) (nominal + Σ_k shift_k(α_k)), with κ a product of factors (``normsys``) and with shifts of the
bin contents (``histosys``). γ has a closed form for given µ and α, so that only those are searched
for: hundreds of bootstrap replicas cost milliseconds.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from hepml.inference.counting import entropy_excess
from hepml.inference.interpolation import Factors, Shifts
from hepml.inference.model import Bins, Model
from hepml.inference.newton import At, covariance, minimise

LEAST_CONTENT = 1e-150  # of a bin that signal of negative strength would empty


@dataclass(frozen=True)
class Measured:
    """Data sets: bin contents n, and what auxiliary measurements found of γ and α."""

    counts: Bins
    gamma: Float[np.ndarray, "#sets bins"]
    alpha: Float[np.ndarray, "#sets sources"]

    def only(self, chosen: Bool[np.ndarray, " sets"]) -> "Measured":
        """Some of the sets."""
        each = self.counts, self.gamma, self.alpha
        return Measured(*(np.broadcast_to(x, (len(chosen), x.shape[1]))[chosen] for x in each))


def nominal_measurement(model: Model, counts: Bins) -> Measured:
    """Auxiliary measurements that found what the model expects."""
    return Measured(counts, np.ones((1, counts.shape[1])), np.zeros((1, model.sources)))


@dataclass(frozen=True)
class _Expected:
    """Contents of the bins of each process at given α, and their parts."""

    contents: Float[np.ndarray, "sets processes bins"]
    slopes: Float[np.ndarray, "sets processes sources bins"]
    scale: Float[np.ndarray, "sets processes"]  # κ
    log_slope: Float[np.ndarray, "sets processes sources"]  # of κ
    bend: Float[np.ndarray, "sets processes sources"]  # κ''/κ - (κ'/κ)² of each factor
    shift_slope: Float[np.ndarray, "sets processes sources bins"]
    shift_bend: Float[np.ndarray, "#sets processes sources bins"]

    def curvature(
        self, weight: Float[np.ndarray, "sets processes bins"]
    ) -> Float[np.ndarray, "sets sources sources"]:
        """Σ weight · d²contents/dα_k dα_l over processes and bins."""
        weighted = weight * self.scale[:, :, None]
        plain = (weight * self.contents).sum(axis=2)
        mixed = (weighted[:, :, None] * self.shift_slope).sum(axis=3)
        logs = self.log_slope
        cross = np.einsum("spk,spl->skl", logs, mixed)
        same = (self.bend * plain[:, :, None]).sum(axis=1)
        same = same + (weighted[:, :, None] * self.shift_bend).sum(axis=(1, 3))
        squares = np.einsum("sp,spk,spl->skl", plain, logs, logs)
        return squares + cross + cross.swapaxes(1, 2) + same[:, :, None] * np.eye(same.shape[1])


class BinnedLikelihood:
    """-2 ln L of a model on data, over that of data that fit perfectly without pulls.

    For Asimov data of µ' that is the likelihood ratio t of µ against the best fit µ', where all
    constraint terms vanish: q₀ at (µ, µ') = (0, 1).

    Args:
        model: what is expected; one set for all data sets, or as many.
        data: bin contents taken as observed, with nominal auxiliary measurements or their own.
    """

    def __init__(self, model: Model, data: Bins | Measured) -> None:
        self.model = model
        self.measured = data if isinstance(data, Measured) else nominal_measurement(model, data)
        self.data = self.measured.counts
        self._last: tuple[At, _Expected] | None = None

    @cached_property
    def _factors(self) -> Factors:
        return Factors(self.model.factors[0], self.model.factors[1])

    @cached_property
    def _shifts(self) -> Shifts:
        return Shifts(self.model.shifts[0], self.model.shifts[1])

    def _expected(self, at: At) -> _Expected:
        """Contents of the bins of each process; where value and derivatives are, found once."""
        if self._last is None or not np.array_equal(self._last[0], at):
            self._last = at.copy(), self._expected_at(at[:, 1:])
        return self._last[1]

    def _expected_at(self, alpha: Float[np.ndarray, "sets sources"]) -> _Expected:
        factors = self._factors(alpha[:, None, :])  # sets, processes, sources
        shifts = self._shifts(alpha[:, None, :, None])  # sets, processes, sources, bins
        scale, logs = factors.value.prod(axis=2), factors.slope / factors.value
        inner = self.model.nominal + shifts.value.sum(axis=2)
        slope = logs[..., None] * inner[:, :, None] + shifts.slope
        return _Expected(
            scale[:, :, None] * inner,
            scale[:, :, None, None] * slope,
            scale,
            logs,
            factors.curvature / factors.value - logs**2,
            shifts.slope,
            shifts.curvature,
        )

    def value(self, at: At) -> Float[np.ndarray, " sets"]:
        """-2 ln L with γ profiled; infinite where there is no background in some bin."""
        error = self.model.relative_error
        signal, background = self._sums(self._expected(at).contents)
        signal = at[:, :1] * signal
        defined = np.all(background > 0, axis=1)
        background = np.where(defined[:, None], background, 1.0)
        gamma = _profiled_gamma(signal, background, self.measured, error)
        fitted = _possible(signal + gamma * background, self.data)
        # f - n + n ln(n/f), written such that nothing cancels where f is close to n
        poisson = fitted * entropy_excess((self.data - fitted) / fitted)
        off = gamma - self.measured.gamma
        pull = np.divide(off, error, out=np.zeros_like(gamma), where=error > 0)
        total = 2 * poisson.sum(axis=1) + (pull**2).sum(axis=1)
        total = total + ((at[:, 1:] - self.measured.alpha) ** 2).sum(axis=1)
        return np.where(defined, total, np.inf)

    def background(self, at: At) -> tuple[np.ndarray, Float[np.ndarray, "sets bins"]]:
        """The best γ of each set at given µ and α, and γB."""
        signal, background = self._sums(self._expected(at).contents)
        gamma = _profiled_gamma(
            at[:, :1] * signal, background, self.measured, self.model.relative_error
        )
        return gamma, gamma * background

    def derivatives(
        self, at: At
    ) -> tuple[
        At,
        Float[np.ndarray, "sets parameters parameters"],
        Float[np.ndarray, "sets parameters parameters"],
    ]:
        """Of -ln L with γ profiled: gradient, Hessian, and that of contents linear in µ and α."""
        mu, error = at[:, :1], self.model.relative_error
        expected = self._expected(at)
        signal, background = self._sums(expected.contents)
        by_signal, by_background = self._sums(expected.slopes)
        gamma = _profiled_gamma(mu * signal, background, self.measured, error)
        error = np.where(gamma > 0, error, 0.0)  # at its end γ stays
        fitted = _possible(mu * signal + gamma * background, self.data)
        surplus, weight = 1 - self.data / fitted, self.data / fitted**2
        of_background = gamma[:, None] * by_background  # d/dα of γB, parameter by parameter
        slopes = np.concatenate(
            [signal[:, None], mu[..., None] * by_signal + of_background], axis=1
        )
        gradient = (surplus[:, None] * slopes).sum(axis=2)
        gradient[:, 1:] += at[:, 1:] - self.measured.alpha
        # the same for γ, whose row and column are then eliminated
        zero = np.zeros_like(signal[:, None])
        mixed = surplus[:, None] * np.concatenate([zero, by_background], axis=1)
        mixed = mixed + (weight * background)[:, None] * slopes
        return gradient, *_hessians(
            slopes,
            (weight, mixed, (error**2 / (1 + error**2 * weight * background**2))),
            self._bent(expected, surplus, (mu, gamma), by_signal),
            (background, error),
        )

    def _sums(self, contents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Over signal, and over background."""
        of_signal = self.model.signal
        return contents[:, of_signal].sum(axis=1), contents[:, ~of_signal].sum(axis=1)

    def _bent(
        self,
        expected: _Expected,
        surplus: Bins,
        factors: tuple[Float[np.ndarray, "sets 1"], Bins],
        by_signal: Float[np.ndarray, "sets sources bins"],
    ) -> Float[np.ndarray, "sets parameters parameters"]:
        """Σ surplus · second derivatives of the contents."""
        mu, gamma = factors
        of_signal = self.model.signal[:, None]
        weight = surplus[:, None] * np.where(of_signal, mu[:, None], gamma[:, None])
        parameters = by_signal.shape[1] + 1
        bent = np.zeros((len(mu), parameters, parameters))
        bent[:, 1:, 1:] = expected.curvature(weight)
        bent[:, 0, 1:] = bent[:, 1:, 0] = (surplus[:, None] * by_signal).sum(axis=2)
        return bent


def _hessians(
    slopes: Float[np.ndarray, "sets parameters bins"],
    eliminated: tuple[Bins, Float[np.ndarray, "sets parameters bins"], Bins],
    bent: Float[np.ndarray, "sets parameters parameters"],
    statistics: tuple[Bins, Bins],
) -> tuple[np.ndarray, np.ndarray]:
    """The exact Hessian, and the positive definite one without second derivatives."""
    weight, mixed, inverse = eliminated
    background, error = statistics
    prior = np.diag([0.0, *np.ones(slopes.shape[1] - 1)])
    exact = np.einsum("sib,sjb->sij", weight[:, None] * slopes, slopes) + bent + prior
    exact = exact - np.einsum("sib,sjb->sij", inverse[:, None] * mixed, mixed)
    kept = weight / (1 + weight * (error * background) ** 2)
    return exact, np.einsum("sib,sjb->sij", kept[:, None] * slopes, slopes) + prior


def asimov_likelihood(model: Model, sets: int) -> BinnedLikelihood:
    """Of so many copies of the first set, on its own µ = 1 Asimov data."""
    repeated = model.repeated(sets)
    return BinnedLikelihood(repeated, repeated.asimov)


def best_fit(likelihood: BinnedLikelihood, mu: float | None = None, start: At | None = None) -> At:
    """Maximise the likelihood of each set in µ and α, or in α alone at a given µ.

    Args:
        likelihood: of all sets.
        mu: fixed if given.
        start: of the search; µ = 1 (or as fixed) and α = 0 by default.

    Raises:
        InputError: if a fit does not converge.
    """
    if start is None:
        start = np.zeros((len(likelihood.data), likelihood.model.sources + 1))
        start[:, 0] = 1.0 if mu is None else mu
    free = np.ones_like(start, dtype=bool)
    free[:, 0] = mu is None
    return minimise(likelihood, start, free)


def asimov_q(model: Model, data: Bins, mu: float) -> Float[np.ndarray, " sets"]:
    """-2 ln L at µ, nuisance parameters profiled, over that of a perfect fit without pulls.

    Args:
        model: what is expected.
        data: expected bin contents taken as observed.
        mu: signal strength of the hypothesis.
    """
    likelihood = BinnedLikelihood(model, data)
    return likelihood.value(best_fit(likelihood, mu))


def discovery_significance(model: Model) -> Float[np.ndarray, " sets"]:
    """Median expected discovery significance of each set: √q₀ of its own µ = 1 Asimov data."""
    return np.sqrt(np.maximum(asimov_q(model, model.asimov, 0.0), 0))


def signal_strength_error(model: Model) -> Float[np.ndarray, " sets"]:
    """Error of µ at µ = 1 from the second derivatives of -ln L on µ = 1 Asimov data."""
    return np.sqrt(asimov_covariance(model)[:, 0, 0])


def asimov_covariance(model: Model) -> Float[np.ndarray, "sets parameters parameters"]:
    """Of µ and α at µ = 1 on µ = 1 Asimov data, where data and expectation are equal."""
    at = np.zeros((len(model.nominal), model.sources + 1))
    at[:, 0] = 1.0
    _, hessian, _ = BinnedLikelihood(model, model.asimov).derivatives(at)
    return covariance(hessian, np.ones_like(at, dtype=bool))


def _possible(fitted: Bins, data: Bins) -> Bins:
    """Contents > 0 where something was seen.

    Elsewhere -ln L is the content itself and goes on smoothly to negative ones, as it does between
    the events of an unbinned fit.
    """
    return np.where((fitted == 0) | (data > 0), np.maximum(fitted, LEAST_CONTENT), fitted)


def _profiled_gamma(
    signal: Float[np.ndarray, "sets bins"],
    background: Float[np.ndarray, "sets bins"],
    measured: Measured,
    relative_error: Float[np.ndarray, "#sets bins"],
) -> Float[np.ndarray, "sets bins"]:
    """Larger root of b - nb/(s + γb) + (γ - g)/r² = 0, no less than 0.

    That is bγ² + (s + b(br² - g))γ + s(br² - g) - nbr² = 0.
    """
    data, gamma = measured.counts, measured.gamma
    variance = background * relative_error**2
    linear = signal + background * (variance - gamma)
    constant = signal * (variance - gamma) - data * variance
    off = signal - background * (variance - gamma)
    root = np.sqrt(off**2 + 4 * background * data * variance)
    # of the two forms of the larger root, the one in which nothing cancels
    with np.errstate(divide="ignore", invalid="ignore"):
        large = -2 * constant / (linear + root)
    found = np.where(linear > 0, large, (root - linear) / (2 * background))
    # where nothing was seen the other root is where the content vanishes: no minimum
    found = np.where(data > 0, found, gamma - variance)
    return np.where(relative_error > 0, np.maximum(found, 0.0), gamma)
