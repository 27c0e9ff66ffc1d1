"""What is said beside the fits: yields, the state of the ratios, and warnings."""

import numpy as np

from hepml.config import InterferenceJob
from hepml.data.entries import root_sum_square
from hepml.inference.interference.bootstrap import Spread
from hepml.inference.interference.results import InterferenceFit
from hepml.inference.interference.samples import Densities, Kind, Samples, expected_events
from hepml.inference.metrics import Estimate

LARGEST_CUT = 0.01  # mean relative change of the density of SBI
LARGEST_BIAS = 0.2  # of µ, in units of its error


def yields_of(samples: Samples) -> dict[str, Estimate]:
    """Of all three, and of the interference, with errors of the simulation."""
    total = expected_events(samples.kind, samples.weight)
    variance = [
        root_sum_square(samples.weight[samples.of(kind)], samples.event_id[samples.of(kind)]) ** 2
        for kind in Kind
    ]
    found = {
        kind.name.lower(): Estimate(float(total[kind]), float(variance[kind] ** 0.5))
        for kind in Kind
    }
    interference = float(total[Kind.SBI] - total[Kind.SIGNAL] - total[Kind.BACKGROUND])
    return found | {"interference": Estimate(interference, float(np.sqrt(np.sum(variance))))}


def constants_of(learned: Densities | None, spread: Spread) -> tuple[Estimate, Estimate] | None:
    """By which the ratios were multiplied; None for cuts."""
    if learned is None or spread.constants is None:
        return None
    pairs = zip(learned.constants.tolist(), spread.constants.tolist(), strict=True)
    first, second = (Estimate(value, error) for value, error in pairs)
    return first, second


def mean_cut(learned: Densities | None, samples: Samples) -> float | None:
    """By how much bounds changed SBI, a mean over its events; None for cuts."""
    if learned is None:
        return None
    of_sbi = samples.of(Kind.SBI)
    return float(np.average(learned.cut_back[of_sbi], weights=samples.weight[of_sbi]))


def cautions(
    job: InterferenceJob,
    fit: InterferenceFit,
    cut_back: float | None,
) -> list[str]:
    """What a reader should know.

    Args:
        job: settings.
        fit: of the best estimator to what is expected.
        cut_back: by how much SBI was changed; None for cuts.
    """
    said = []
    if cut_back is not None and abs(fit.mu.value - 1) > LARGEST_BIAS * fit.sigma:
        said.append(
            f"with interference the unbinned fit finds µ = {fit.mu.value:.2f} ± "
            f"{fit.mu.error or 0:.2f} where it is 1: train on more events, or trust the binned fit"
        )
    if cut_back is not None and cut_back > LARGEST_CUT:
        said.append(
            "the learned interference is beyond ±2√(SB), which no amplitudes reach; to cut it back "
            f"changes the density of SBI by {cut_back:.1%} on average: train on more events, or "
            "trust the binned fit"
        )
    for level in fit.intervals:
        chosen = level.neyman or level.wilks
        if chosen[-1][1] > 0.999 * job.interference.largest_mu:
            said.append(
                f"with interference the {level.level:.1%} interval of µ ends at "
                f"interference.largest_mu = {job.interference.largest_mu:g} only; raise it"
            )
    return said
