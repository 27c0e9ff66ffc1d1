"""Diagnostics of one method: the only file of them that opens files."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from hepml.artifacts import write_json
from hepml.config import DiagnosticsJob
from hepml.data.store import Columns, open_columns
from hepml.inference.diagnostics.evaluate import diagnosed
from hepml.inference.diagnostics.record import DIAGNOSTICS
from hepml.inference.events import check_events
from hepml.inference.stage import read_cut_variables, read_events, read_ratios, read_variable


def diagnose(
    job: DiagnosticsJob, data: tuple[Path, ...], scores: tuple[Path, ...], output: Path
) -> None:
    """Find out whether a score can be trusted as a likelihood ratio.

    Args:
        job: settings; with ``cuts`` for the cut-based selection, of which only the sculpting is
            looked at.
        data: folder of columns per sample.
        scores: parquet file per sample in the same order; empty for cuts.
        output: JSON to write, a :class:`hepml.inference.diagnostics.record.Diagnostics`.

    Raises:
        InputError: if the inputs do not fit together, or a check fails and ``inference.gate`` is
            "fail".
    """
    samples = [open_columns(folder) for folder in data]
    events = read_events(samples, job.folds)
    check_events(events)
    judged_by = read_cut_variables(job, samples) if job.cuts else read_ratios(job, samples, scores)
    found = diagnosed(job, judged_by, _variables(job, samples), events)
    write_json(output, DIAGNOSTICS.dump_python(found, mode="json"))


def _variables(
    job: DiagnosticsJob, samples: list[Columns]
) -> dict[str, Float[np.ndarray, " events"]]:
    """Everything that is looked at, by name."""
    wanted = dict.fromkeys((*job.variables, job.inference.sculpting, job.exact))
    return {name: read_variable(name, samples) for name in wanted if name}
