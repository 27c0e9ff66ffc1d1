"""From two learned ratios to the densities of S, SBI and B for every simulated event.

One network gives p(x|S)/p(x|B), another p(x|SBI)/p(x|B), each but for a constant. As reference the
density of all simulated events together serves, q = S + SBI + B: every term is then a share of q
between 0 and 1, and no event has a large weight. The two constants are those at which the shares
add up to the expected numbers of events,

    Σ_i w_i s(x_i)/q(x_i) = ν_S,    Σ_i w_i t(x_i)/q(x_i) = ν_SBI,

over the events of all three; that of B then holds by itself. These are the equations of Shirts and
Chodera (J. Chem. Phys. 129 (2008) 124105, Eq. 11), which give normalisations with the least
variance, and are solved as there: each step multiplies a constant by what its sum lacks.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt64
from scipy.special import expit, logsumexp

from hepml.errors import InputError
from hepml.inference.interference.likelihood import Terms

# |I| ≤ 2√(SB) whatever the amplitudes and their phases are; a ratio that was learned may break it.
# A little less keeps λ(µ) above 0.002 B where the signal would cancel the background altogether.
LARGEST_COHERENCE = 0.999
STEPS = 2000  # of the search for the constants; a few dozen are usual
CLOSE = 1e-11


class Kind(IntEnum):
    """What an event was simulated as."""

    SIGNAL = 0
    SBI = 1
    BACKGROUND = 2


@dataclass(frozen=True)
class Samples:
    """Simulated events of S, SBI and B in a fixed order.

    Attributes:
        event_id: identity; entries that share it fluctuate together.
        fold: 0 .. folds - 1.
        kind: what each was simulated as.
        weight: expected events at µ = 1; may be negative.
    """

    event_id: UInt64[np.ndarray, " events"]
    fold: Integer[np.ndarray, " events"]
    kind: Integer[np.ndarray, " events"]
    weight: Float[np.ndarray, " events"]

    def of(self, kind: Kind) -> Bool[np.ndarray, " events"]:
        """Which events are of a kind."""
        return self.kind == kind


@dataclass(frozen=True)
class Densities:
    """Densities of S, SBI and B at each event, as shares of their sum.

    Attributes:
        terms: the shares.
        constants: by which the ratios of S and of SBI were multiplied; 1 for exact ones.
        cut_back: by how much ln SBI was changed where the interference was beyond ±2√(SB).
    """

    terms: Terms
    constants: Float[np.ndarray, "2"]
    cut_back: Float[np.ndarray, " events"]


def expected_events(
    kind: Integer[np.ndarray, " events"], weight: Float[np.ndarray, " events"]
) -> Float[np.ndarray, "3"]:
    """Expected numbers of events of S, SBI and B.

    Raises:
        InputError: if one is not positive.
    """
    total = np.bincount(kind, weight, 3)
    for name, value in zip(("signal", "sbi", "background"), total, strict=True):
        if not value > 0:
            raise InputError(
                f"interference: {value:.4g} expected events of the samples of role {name}; check "
                "their selection and weights"
            )
    return total


def densities(
    llr: Float[np.ndarray, "2 events"],
    kind: Integer[np.ndarray, " events"],
    weight: Float[np.ndarray, " events"],
) -> Densities:
    """Of two ratios, normalised on the events of all three samples.

    Args:
        llr: ln p(x|S)/p(x|B) and ln p(x|SBI)/p(x|B), each but for a constant.
        kind: of each event.
        weight: expected events.

    Raises:
        InputError: if no constants make the shares add up to the expected numbers, because these
            have more interference than amplitudes can.
    """
    total = expected_events(kind, weight)
    return normalised(log_densities(llr, total), weight, total)


def normalised(
    logs: Float[np.ndarray, "3 cells"],
    weight: Float[np.ndarray, " cells"],
    total: Float[np.ndarray, "3"],
) -> Densities:
    """The same of logarithms of densities, in cells that may hold many events.

    Raises:
        InputError: if no constants make the shares add up to the expected numbers, because these
            have more interference than amplitudes can.
    """
    constants = np.zeros(2)
    for _ in range(STEPS):
        shares, cut_back = shares_of(logs, constants)
        step = np.log(total[:2] / (shares[:2] @ weight))
        if np.abs(step).max() < CLOSE:
            return Densities(Terms(*shares), np.exp(constants), cut_back)
        constants = constants + step
    shown = ", ".join(f"{value:.4g}" for value in total)
    raise InputError(
        f"interference: expected events of signal, sbi and background are {shown} (of the samples, "
        "or of a bootstrap replica of them): this is an interference of "
        f"{total[1] - total[0] - total[2]:.4g}, more than ±2√(SB) allows for the densities that "
        "were learned; check cross-sections and selections, simulate more events, or train longer"
    )


def log_densities(
    llr: Float[np.ndarray, "2 events"], total: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 events"]:
    """Of S, SBI and B over p(x|B), if the ratios are right as they are.

    Args:
        llr: logarithms of both ratios.
        total: expected events of S, SBI and B.
    """
    logs = np.log(total)
    return np.stack([logs[0] + llr[0], logs[1] + llr[1], np.full(llr.shape[1], logs[2])])


def shares_of(
    logs: Float[np.ndarray, "3 events"], constants: Float[np.ndarray, "2"]
) -> tuple[Float[np.ndarray, "3 events"], Float[np.ndarray, " events"]]:
    """Shares of S, SBI and B in their sum, and by how much ln SBI was changed at its bounds.

    Args:
        logs: logarithms of densities over any common one.
        constants: logarithms of those of S and SBI.
    """
    signal, total, background = logs + np.array([*constants, 0.0])[:, None]
    # of S in S + B: all that a bound on the interference depends on
    share = expit(signal - background)
    edge = 2 * LARGEST_COHERENCE * np.sqrt(share * (1 - share))
    both = np.logaddexp(signal, background)
    with np.errstate(divide="ignore"):
        within = np.clip(total, both + np.log1p(-edge), both + np.log1p(edge))
    each = np.stack([signal, within, background])
    return np.exp(each - logsumexp(each, axis=0)), np.abs(within - total)
