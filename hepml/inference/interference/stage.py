"""The stage that fits a signal that interferes: the only file here that opens files."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from jaxtyping import Bool, Float

from hepml.artifacts import write_json
from hepml.config import InterferenceJob
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.inference.interference.method import Observations, evaluate
from hepml.inference.interference.results import INTERFERING, Interfering
from hepml.inference.interference.samples import Kind, Samples
from hepml.inference.stage import (
    check_finite,
    read_cut_variables,
    read_events,
    read_ratios,
    read_variable,
    read_written,
)


def fit_interference(
    job: InterferenceJob,
    data: tuple[Path, ...],
    sbi: tuple[Path, ...],
    scores: tuple[tuple[Path, ...], tuple[Path, ...]],
    output: Path,
) -> None:
    """Fit µ of a signal that interferes, by one method.

    Args:
        job: settings; with ``cuts`` for the cut-based selection.
        data: folder of columns of each sample of signal, background and data.
        sbi: of each sample of signal and background together.
        scores: parquet file of each sample of ``data`` and ``sbi`` in their order, by the networks
            that tell signal from background, and by those that tell SBI from background; both
            empty for cuts.
        output: JSON to write, a :class:`hepml.inference.interference.results.Interfering`.

    Raises:
        InputError: if the inputs do not fit together or a fit is not possible.
    """
    folders = [*data, *sbi]
    if not sbi:
        raise InputError("interference: give the samples of role sbi with --sbi")
    for given in scores:
        if len(given) != (0 if job.cuts else len(folders)):
            raise InputError(
                f"interference: {job.method}: {len(folders)} samples but {len(given)} score files; "
                "give --scores and --sbi-scores for each, first those of DATA and then of --sbi; "
                "none for cuts"
            )
    columns = [open_columns(folder) for folder in folders]
    events = read_events(columns, job.folds)
    simulated = [int(np.count_nonzero(_simulated(each))) for each in columns]
    of_sbi = np.repeat(np.arange(len(folders)) >= len(data), simulated)
    kind = np.where(events.signal, np.where(of_sbi, Kind.SBI, Kind.SIGNAL), Kind.BACKGROUND)
    samples = Samples(events.event_id, events.fold, kind, events.weight)
    if job.cuts:
        variables = read_cut_variables(job, columns)
    else:
        variables = np.stack([read_ratios(job, columns, given)[0] for given in scores])
    found = evaluate(job, samples, variables, _observations(job, columns, scores))
    write_json(output, INTERFERING.dump_python(found, mode="json"))


def read_interfering(path: Path) -> Interfering:
    """What :func:`fit_interference` wrote."""
    return read_written(path, INTERFERING.validate_json, "no such fit", "hepml interference")


def _observations(
    job: InterferenceJob,
    columns: list[Columns],
    scores: tuple[tuple[Path, ...], tuple[Path, ...]],
) -> Observations | None:
    """Data events; none are read while the analysis is blind."""
    if not job.inference.unblind or all(_simulated(each).all() for each in columns):
        return None
    fold = np.concatenate([np.asarray(each["fold"])[_observed(each)] for each in columns])
    if job.cuts:
        rows = [read_variable(cut.variable, columns, _observed) for cut in job.cuts]
    else:
        rows = [np.concatenate([_ratios_of_data(path) for path in given]) for given in scores]
    return Observations(fold, np.stack(rows))


def _ratios_of_data(path: Path) -> Float[np.ndarray, " events"]:
    table = pq.read_table(path, columns=["label", "llr"])
    values = table["llr"].to_numpy()[table["label"].to_numpy() < 0].astype(np.float64)
    check_finite(values, "llr", path, "look at the data inputs of the network")
    return values


def _simulated(columns: Columns) -> Bool[np.ndarray, " events"]:
    return np.asarray(columns["label"]) >= 0


def _observed(columns: Columns) -> Bool[np.ndarray, " events"]:
    return ~_simulated(columns)
