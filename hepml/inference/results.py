"""What the inference says about one method: the content of ``inference/<method>.json``.

Numbers are never NaN; what is not defined is None. Open ends of intervals are None.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from hepml.inference.blinding import Counted
from hepml.inference.closure import Closure
from hepml.inference.impacts import Ranking
from hepml.inference.information import Curve
from hepml.inference.metrics import Estimate
from hepml.inference.observed import ObservedFit
from hepml.inference.toys.significance import ToySignificance
from hepml.inference.workspace import PyhfCheck

End = float | None
Threshold = End | list[End]


@dataclass(frozen=True)
class Rejection:
    """Background rejection 1/ε_B at the signal efficiency reached."""

    value: float
    error: float
    signal_efficiency: float


@dataclass(frozen=True)
class Roc:
    """Points of the ROC curve."""

    signal_efficiency: list[float]
    background_efficiency: list[float]


@dataclass(frozen=True)
class Yield:
    """Events of one class that pass: expected, their error from simulation, and raw.

    ``raw_interval`` is Garwood's 68 % interval of the mean of the raw number.
    """

    expected: Annotated[float, Field(alias="yield")]  # a keyword of Python
    error: float
    raw: int
    raw_interval: list[float]


@dataclass(frozen=True)
class WorkingPoint:
    """The selection of largest expected significance, summed over folds.

    Attributes:
        thresholds: per fold; ``{"llr": t}`` or ``{variable: [low, high]}``, None for open ends.
    """

    thresholds: list[dict[str, Threshold]]
    signal: Yield
    background: Yield
    signal_efficiency: Estimate
    background_efficiency: Estimate


@dataclass(frozen=True)
class LiMa:
    """Li and Ma's significance of an equivalent on/off measurement, off = τ · background.

    ``z_bi`` is the exact significance of the same counts (arXiv:physics/0702156).
    """

    value: float
    error: float
    z_bi: float | None
    n_on: float
    n_off: float
    tau: float


@dataclass(frozen=True)
class Significance:
    """Median expected discovery significance by several estimators.

    Attributes:
        counting: at the working point, with background uncertainty (Cowan 2012).
        counting_without_uncertainty: background known exactly.
        counting_with_mc_statistics: the simulated background's Σw² added to its variance.
        exact: by the exact Poisson p-value, background known exactly (arXiv:2009.07249); None where
            that p-value is too small for a number.
        li_ma: on/off, equal to ``counting``; None without uncertainty.
        binned: profile likelihood of all bins.
        unbinned: likelihood of every event by itself; None for cuts, which have no ratio.
    """

    counting: Estimate
    counting_without_uncertainty: Estimate
    counting_with_mc_statistics: Estimate
    exact: Estimate | None
    li_ma: LiMa | None
    binned: Estimate
    unbinned: Estimate | None


@dataclass(frozen=True)
class Mu:
    """Signal strength found in the µ = 1 Asimov data: value, error, 68 % interval."""

    value: float
    sigma: float
    interval: list[float]


@dataclass(frozen=True)
class Unbinned:
    """The unbinned fit to µ = 1 Asimov data, which the simulated events are.

    Attributes:
        mu: best fit, error and 68 % interval; its distance to 1 is the bias of a learned ratio.
        mean_ratio: of the background, before it is normalised to 1.
    """

    mu: Mu
    mean_ratio: Estimate


@dataclass(frozen=True)
class Limit:
    """Expected CLs upper limits on µ at -2, -1, 0, 1, 2 standard deviations."""

    level: float
    expected: list[float]


@dataclass(frozen=True)
class ScanPoints:
    """Counting significance against the threshold on the score, which is the mean of the folds."""

    signal_efficiency: list[float]
    background_efficiency: list[float]
    threshold: list[float]
    significance: list[float]
    error: list[float]


@dataclass(frozen=True)
class Bins:
    """What is fitted. For cuts the bins are failed and passed, without edges."""

    edges: list[list[End]] | None
    signal: list[float]
    signal_error: list[float]
    background: list[float]
    background_error: list[float]
    raw_signal: list[int]
    raw_background: list[int]


@dataclass(frozen=True)
class Observed:
    """Data in the bins that are fitted.

    Attributes:
        data: which bins are open, and their counts.
        fit: to the data; None while a bin is closed.
    """

    data: Counted
    fit: ObservedFit | None


@dataclass(frozen=True)
class ReplicaSignificances:
    """Significances of the bootstrap replicas; replica i is the same for all methods.

    ``unbinned`` is empty for cuts.
    """

    counting: list[float]
    binned: list[float]
    unbinned: list[float]


@dataclass(frozen=True)
class Nuisances:
    """What every source of uncertainty does to the fits of one method.

    Attributes:
        counted: source: relative uncertainty of the background at the working point, with the
            error from the statistics of the simulation.
        binned: impacts and costs in the binned fit.
        unbinned: in the unbinned fit, of slices of the score; None for cuts.
    """

    counted: dict[str, Estimate]
    binned: Ranking
    unbinned: Ranking | None


@dataclass(frozen=True)
class Result:
    """All numbers of one method.

    Attributes:
        background_uncertainty: relative, of the normalisation, as configured.
        counting_uncertainty: relative, of the background at the working point, from all sources.
        p_value: one-sided, of the counting significance.
        closure: whether the score is a likelihood ratio; None for cuts.
        likelihood: -2Δln L against µ by every estimator.
        nuisances: what every source of uncertainty does.
        pyhf: what pyhf says of the binned significance, which is the own likelihood's.
        observed: None without data samples.
    """

    method: str
    title: str
    events: int
    events_digest: str
    seed: int
    background_uncertainty: float
    counting_uncertainty: float
    signal_events: int
    background_events: int
    expected_signal: float
    expected_background: float
    auc: Estimate | None
    rejection: dict[str, Rejection | None]
    roc: Roc | None
    working_point: WorkingPoint
    significance: Significance
    p_value: float
    pyhf: PyhfCheck
    mu: Mu
    unbinned: Unbinned | None
    closure: Closure | None
    nuisances: Nuisances
    limit: Limit
    likelihood: list[Curve]
    scan: ScanPoints | None
    histogram: Bins
    observed: Observed | None
    replicas: ReplicaSignificances
    warnings: list[str]


@dataclass(frozen=True)
class ToyNumbers:
    """Median expected significance by toys: the content of ``inference/toys/<method>.json``.

    Attributes:
        counting: at the working point, with the auxiliary measurement of the background.
        binned: of the profile likelihood of all bins.
    """

    method: str
    counting: ToySignificance
    binned: ToySignificance


TOYS = TypeAdapter(ToyNumbers)
RESULT = TypeAdapter(Result)  # reads and writes the JSON
