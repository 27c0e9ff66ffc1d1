"""Everything about one method, from its scores or cut variables to a result."""

from typing import Any

import numpy as np
from jaxtyping import Float

from hepml.config import Cut, InferenceJob
from hepml.inference.binned import LEVEL, fit
from hepml.inference.binning import Binning, bin_score
from hepml.inference.blinding import DataReader, count_data
from hepml.inference.bootstrap import estimate, spread
from hepml.inference.cautions import (
    of_bins,
    of_closure,
    of_idle,
    of_pyhf,
    of_selection,
    of_shape,
    of_variations,
    of_weights,
)
from hepml.inference.closure import check_closure
from hepml.inference.counting import (
    asimov_significance,
    binomial_p_value,
    exact_significance,
    garwood_interval,
    li_ma_significance,
    p_value,
    significance_of,
)
from hepml.inference.events import Events, Yields, digest
from hepml.inference.goals import LargestSignificance
from hepml.inference.information import likelihood_curves
from hepml.inference.likelihood import discovery_significance
from hepml.inference.metrics import Estimate
from hepml.inference.observed import fit_observed, with_observations
from hepml.inference.placing import placing
from hepml.inference.results import (
    Bins,
    LiMa,
    Limit,
    Mu,
    Observed,
    ReplicaSignificances,
    Result,
    Significance,
    Threshold,
    WorkingPoint,
    Yield,
)
from hepml.inference.selection import Selection, passed_and_failed, select
from hepml.inference.separation import efficiencies, separation_of_cuts, separation_of_score
from hepml.inference.shapes import (
    Shape,
    shape_of_score,
    unbinned_result,
)
from hepml.inference.sources import Copy, Systematics, all_sources
from hepml.inference.templates import model_of
from hepml.inference.uncertainties import (
    Uncertain,
    nuisances_of,
    require_events,
    uncertain,
)
from hepml.inference.workspace import checked_by_pyhf, workspace

LLR = (Cut(variable="llr", keep="above"),)


def evaluate(
    job: InferenceJob,
    variables: Float[np.ndarray, "cuts events"],
    events: Events,
    seen: Float[np.ndarray, " events"] | None = None,
    read_data: DataReader | None = None,
    systematics: Systematics | None = None,
) -> tuple[Result, dict[str, Any]]:
    """All numbers of one method, and its workspace.

    Args:
        job: settings; without ``cuts`` the variable is a log-likelihood ratio.
        variables: one row per cut, or the log-likelihood ratio.
        events: of all samples.
        seen: log-likelihood ratio by a network that trained on the event; None for cuts.
        read_data: reads data events, as far as the analysis is not blind; None if there are none.
        systematics: beside the normalisation of the background; none without.

    Raises:
        InputError: if a constraint cannot be met, a variation empties a bin, or the ratio fails its
            checks and ``inference.gate`` is "fail".
    """
    settings = job.inference
    goal = LargestSignificance(settings.background_uncertainty, settings.minimum_background)
    selection = select(job.cuts or LLR, variables, events, goal)
    if job.cuts:
        binning = _failed_and_passed(events, selection)
        separation = separation_of_cuts(job, variables, events)
    else:
        binning = bin_score(variables[0], events, settings.bins, settings.minimum_background)
        separation = separation_of_score(job, variables[0], events)
    sources = all_sources(settings.background_uncertainty, systematics, events)
    nominal = Copy(events, sources.processes.of_event, variables)
    drawn = settings.replicas, job.seed
    uncertainties = uncertain(nominal, sources, selection, binning, drawn)
    require_events(uncertainties, settings.minimum_background)
    content = workspace(uncertainties.templates, job.method)
    fitted = fit(model_of(uncertainties.templates))
    check = checked_by_pyhf(content, fitted.significance)
    content, observed = _observed(job, content, (binning, selection), read_data)
    closure = None if seen is None else check_closure(variables[0], seen, events)
    failed = of_closure(job, closure)
    shape = None if job.cuts else shape_of_score(nominal, sources, job)
    significance, replicas = _significances(uncertainties, fitted.significance, shape)
    point = _working_point(events, selection)
    result = Result(
        method=job.method,
        title=job.title,
        events=len(events.weight),
        events_digest=digest(events),
        seed=job.seed,
        background_uncertainty=settings.background_uncertainty,
        counting_uncertainty=float(uncertainties.counting[0]),
        signal_events=int(np.count_nonzero(events.signal)),
        background_events=int(np.count_nonzero(~events.signal)),
        expected_signal=float(events.weight[events.signal].sum()),
        expected_background=float(events.weight[~events.signal].sum()),
        auc=separation.auc,
        rejection=separation.rejection,
        roc=separation.roc,
        working_point=point,
        significance=significance,
        p_value=float(p_value(np.array(significance.counting.value))),
        pyhf=check,
        mu=Mu(1.0, fitted.sigma_mu, list(fitted.interval)),
        unbinned=unbinned_result(shape),
        closure=closure,
        nuisances=nuisances_of(uncertainties, shape),
        limit=Limit(LEVEL, list(fitted.limits)),
        likelihood=likelihood_curves(
            uncertainties.templates,
            uncertainties.passed,
            (shape.one, shape.sources) if shape else None,
            tuple(source.name for source in sources.sources),
        ),
        scan=separation.scan,
        histogram=_bins(binning),
        observed=observed,
        replicas=replicas,
        warnings=[
            *of_selection(job, selection, significance),
            *of_bins(binning),
            *of_pyhf(check, fitted),
            *of_shape(shape),
            *failed,
            *of_idle(sources, uncertainties.templates.sources),
            *of_variations(job, uncertainties.changes(), point.background.raw),
            *of_weights(events),
        ],
    )
    return result, content


def _failed_and_passed(events: Events, selection: Selection) -> Binning:
    """Two bins, or the passed one alone where what fails makes no bin.

    What fails needs background, which controls that of the passed bin; signal it may lack.
    """
    yields = passed_and_failed(events, selection.passed)
    if yields.background[0] > 0 and yields.signal[0] >= 0:
        return Binning(selection.passed.astype(np.int64), yields, None)
    passed = Yields(**{name: values[1:] for name, values in vars(yields).items()})
    return Binning((~selection.passed).astype(np.int64), passed, None)


def _observed(
    job: InferenceJob,
    content: dict[str, Any],
    chosen: tuple[Binning, Selection],
    read: DataReader | None,
) -> tuple[dict[str, Any], Observed | None]:
    """The workspace and what the data say; the data are in the workspace once all are read."""
    if read is None:
        return content, None
    binning, selection = chosen
    counted = count_data(read, binning, placing(binning, selection), job.folds, job.inference)
    counts = [count for count in counted.counts if count is not None]
    if not counted.complete:
        return content, Observed(counted, None)
    content = with_observations(content, counts)
    return content, Observed(counted, fit_observed(content, job.method))


def _working_point(events: Events, selection: Selection) -> WorkingPoint:
    passed = passed_and_failed(events, selection.passed)
    signal, background = (
        Yield(
            float(total[1]),
            float(variance[1] ** 0.5),
            int(raw[1]),
            garwood_interval(raw[1:].astype(int))[:, 0].tolist(),
        )
        for total, variance, raw in (
            (passed.signal, passed.signal_variance, passed.raw_signal),
            (passed.background, passed.background_variance, passed.raw_background),
        )
    )
    thresholds = [_thresholds(selection.cuts, bounds) for bounds in selection.bounds]
    return WorkingPoint(thresholds, signal, background, *efficiencies(selection.passed, events))


def _thresholds(cuts: tuple[Cut, ...], bounds: Float[np.ndarray, "cuts 2"]) -> dict[str, Threshold]:
    if cuts == LLR:
        return {"llr": _finite([bounds[0, 0]])[0]}
    ends: dict[str, Threshold] = {}
    for name in dict.fromkeys(cut.variable for cut in cuts):
        mine = [cut.variable == name for cut in cuts]
        ends[name] = _finite([bounds[mine, 0].max(), bounds[mine, 1].min()])
    return ends


def _finite(ends: list[float]) -> list[float | None]:
    return [float(end) if np.isfinite(end) else None for end in ends]


def _bins(binning: Binning) -> Bins:
    yields = binning.yields
    raw = [yields.raw_signal, yields.raw_background]
    return Bins(
        edges=None if binning.edges is None else [_finite(row.tolist()) for row in binning.edges],
        signal=yields.signal.tolist(),
        signal_error=np.sqrt(yields.signal_variance).tolist(),
        background=yields.background.tolist(),
        background_error=np.sqrt(yields.background_variance).tolist(),
        raw_signal=raw[0].astype(int).tolist(),
        raw_background=raw[1].astype(int).tolist(),
    )


def _significances(
    uncertainties: Uncertain, binned: float, shape: Shape | None
) -> tuple[Significance, ReplicaSignificances]:
    """Every estimator at the working point, with bootstrap errors; binned and shape are given."""
    counted = uncertainties.counted
    s, b, variance = (
        x[:, 0] for x in (counted.signal, counted.background, counted.background_variance)
    )
    sigma = uncertainties.counting * b
    counting = asimov_significance(s, b, sigma)
    of_bins = discovery_significance(uncertainties.replica_model)
    significance = Significance(
        counting=estimate(counting),
        counting_without_uncertainty=estimate(asimov_significance(s, b)),
        counting_with_mc_statistics=estimate(
            asimov_significance(s, b, np.hypot(sigma, np.sqrt(variance)))
        ),
        exact=_exact(s, b),
        li_ma=_li_ma(s, b, sigma) if sigma[0] else None,
        binned=Estimate(binned, spread(of_bins)),
        unbinned=shape.significance if shape else None,
    )
    replicas = ReplicaSignificances(
        counting[1:].tolist(), of_bins[1:].tolist(), shape.replicas if shape else []
    )
    return significance, replicas


def _exact(s: Float[np.ndarray, " replicas"], b: Float[np.ndarray, " replicas"]) -> Estimate | None:
    exact = exact_significance(s, b)
    return estimate(exact) if np.isfinite(exact).all() else None


def _li_ma(
    s: Float[np.ndarray, " replicas"],
    b: Float[np.ndarray, " replicas"],
    sigma: Float[np.ndarray, " replicas"],
) -> LiMa:
    # where a replica's variations change nothing, the sample's uncertainty stands in
    sigma = np.where(sigma > 0, sigma, sigma[0] / b[0] * b)
    tau = b / sigma**2
    found = estimate(li_ma_significance(s + b, tau * b, tau))
    numbers = (float(x[0]) for x in (s + b, tau * b, tau))
    z_bi = float(significance_of(binomial_p_value(s[:1] + b[:1], tau[:1] * b[:1], tau[:1]))[0])
    # beyond 38 σ the p-value is too small for a number
    return LiMa(found.value, found.error, z_bi if np.isfinite(z_bi) else None, *numbers)
