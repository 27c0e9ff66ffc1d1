"""The inference stage: the only file of it that opens files."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jaxtyping import Float, Integer
from pydantic import ValidationError

from hepml.artifacts import new_file, write_json
from hepml.config import InferenceJob
from hepml.data.folds import splitmix64
from hepml.data.store import Columns, open_columns
from hepml.errors import InputError
from hepml.inference.blinding import DataEvents, DataReader
from hepml.inference.collect import Loaded, sample_names, systematics_of, varied_weights
from hepml.inference.comparison import Comparison, Network, Row, compared, with_toys
from hepml.inference.events import Events, check_events
from hepml.inference.methods import evaluate
from hepml.inference.results import RESULT, TOYS, Result
from hepml.inference.table import markdown
from hepml.inference.varied import Varied

T = TypeVar("T")


def infer(
    job: InferenceJob,
    data: tuple[Path, ...],
    scores: tuple[Path, ...],
    output: Path,
    workspace: Path,
    varied: tuple[Varied, ...] = (),
) -> None:
    """Turn the scores of a model, or the variables cut on, into significance.

    Args:
        job: settings; with ``cuts`` for the cut-based selection.
        data: folder of columns per sample.
        scores: parquet file per sample in the same order; empty for cuts.
        output: JSON to write, a :class:`hepml.inference.results.Result`.
        workspace: pyhf workspace to write.
        varied: changed copies of samples.

    Raises:
        InputError: if the inputs do not fit together or allow no statement.
    """
    if not job.cuts and len(data) != len(scores):
        raise InputError(
            f"inference: {job.method}: {len(data)} data folders but {len(scores)} score files; "
            "give one per sample, in the same order"
        )
    samples = [open_columns(folder) for folder in data]
    events, sample = _with_samples(samples, job.folds, range(len(samples)))
    check_events(events)
    seen = None
    if job.cuts:
        variables = read_cut_variables(job, samples)
    else:
        llr, seen = read_ratios(job, samples, scores)
        variables = llr[None]
    systematics = systematics_of(
        job,
        sample_names(samples) if job.systematics else (),
        Loaded(events, sample, variables),
        varied_weights(job, samples),
        {(copy.variation, copy.sample): _loaded(job, copy, len(samples)) for copy in varied},
    )
    read_data = _data_reader(job, samples, scores)
    result, content = evaluate(job, variables, events, seen, read_data, systematics)
    write_json(workspace, content)
    write_json(output, RESULT.dump_python(result, mode="json", by_alias=True))


def _simulated(sample: Columns) -> np.ndarray:
    return np.asarray(sample["label"]) >= 0


def read_events(samples: list[Columns], folds: int) -> Events:
    """The simulated events of all samples."""
    return _with_samples(samples, folds, range(len(samples)))[0]


def _with_samples(
    samples: list[Columns], folds: int, numbers: Iterable[int]
) -> tuple[Events, Integer[np.ndarray, " events"]]:
    """Simulated events, and the number of the sample of each."""

    def column(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(s[name])[_simulated(s)] for s in samples])

    weight = column("weight")
    if not np.isfinite(weight).all():
        raise InputError(
            f"inference: column weight holds {np.count_nonzero(~np.isfinite(weight))} NaN or "
            "infinite values; mend the weight expression of the sample"
        )
    # ids number the events of a sample: those of two samples are different events
    sample = np.repeat(list(numbers), [np.count_nonzero(_simulated(s)) for s in samples])
    identity = splitmix64(column("event_id")) ^ splitmix64(sample.astype(np.uint64))
    return Events(identity, column("fold"), column("label") == 1, weight, folds), sample


def _loaded(job: InferenceJob, copy: Varied, samples: int) -> Loaded:
    """One changed copy of a sample."""
    if copy.sample >= samples:
        raise InputError(
            f"--varied {copy.variation} {copy.sample}: there are {samples} samples, from 0"
        )
    if not job.cuts and copy.scores is None:
        raise InputError(
            f"inference: {job.method}: {copy.variation} of sample {copy.sample} has no scores; "
            "give --varied-scores"
        )
    columns = [open_columns(copy.data)]
    events, sample = _with_samples(columns, job.folds, [copy.sample])
    if copy.scores is None:
        return Loaded(events, sample, read_cut_variables(job, columns))
    return Loaded(events, sample, read_ratios(job, columns, (copy.scores,))[:1])


def read_cut_variables(
    job: InferenceJob, samples: list[Columns]
) -> Float[np.ndarray, "cuts events"]:
    """What the cuts cut on, one row per cut."""
    return np.stack([read_variable(cut.variable, samples) for cut in job.cuts])


def read_variable(
    name: str, samples: list[Columns], chosen: Callable[[Columns], np.ndarray] | None = None
) -> Float[np.ndarray, " events"]:
    """A variable of all simulated events, or of those that are chosen instead."""
    parts = [np.asarray(s[name])[(chosen or _simulated)(s)].astype(np.float64) for s in samples]
    for sample, values in zip(samples, parts, strict=True):
        check_finite(values, name, sample.folder, "data.invalid: drop")
    return np.concatenate(parts)


def read_ratios(
    job: InferenceJob, samples: list[Columns], scores: tuple[Path, ...]
) -> Float[np.ndarray, "2 events"]:
    """Of each event, by a network that never saw it and by one that trained on it."""
    parts = []
    for sample, path in zip(samples, scores, strict=True):
        try:
            table = pq.read_table(path, columns=["event_id", "llr", "llr_train"])
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"{path}: cannot be read as scores ({error}); run `hepml score`"
            ) from None
        if not np.array_equal(table["event_id"].to_numpy(), sample["event_id"]):
            raise InputError(
                f"{path}: the {table.num_rows} events are not the {sample.events} of "
                f"{sample.folder} in the same order (column event_id); run `hepml score` again "
                f"for model {job.method}"
            )
        for name in ("llr", "llr_train"):
            values = table[name].to_numpy().astype(np.float64)[_simulated(sample)]
            check_finite(values, name, path, f"train {job.method} again, or look at its inputs")
            parts.append(values)
    return np.stack([np.concatenate(parts[::2]), np.concatenate(parts[1::2])])


def _data_reader(
    job: InferenceJob, samples: list[Columns], scores: tuple[Path, ...]
) -> DataReader | None:
    """What reads data events below a limit on the score of each fold; None if there are no data."""
    if all(_simulated(sample).all() for sample in samples):
        return None

    def is_data(sample: Columns) -> np.ndarray:
        return ~_simulated(sample)

    def read_columns(_: Float[np.ndarray, " folds"]) -> DataEvents:
        fold = np.concatenate([np.asarray(s["fold"])[is_data(s)] for s in samples])
        return DataEvents(
            fold, np.stack([read_variable(cut.variable, samples, is_data) for cut in job.cuts])
        )

    def read_scores(limits: Float[np.ndarray, " folds"]) -> DataEvents:
        chosen = pc.field("label") < 0
        if np.isfinite(limits).any():
            below = [(pc.field("fold") == k) & (pc.field("llr") < x) for k, x in enumerate(limits)]
            chosen &= reduce(or_, below)  # a score beyond the limit gets no further than the filter
        fold, score = [], []
        for path in scores:
            table = pq.read_table(path, columns=["fold", "llr"], filters=chosen)
            fold.append(table["fold"].to_numpy())
            score.append(table["llr"].to_numpy().astype(np.float64))
            check_finite(score[-1], "llr", path, f"look at the data inputs of {job.method}")
        return DataEvents(np.concatenate(fold), np.concatenate(score)[None])

    return read_columns if job.cuts else read_scores


def check_finite(values: np.ndarray, column: str, source: Path, mend: str) -> None:
    """Refuse values of a column that are no numbers.

    Raises:
        InputError: naming the source, the column, how many they are, and the mend.
    """
    broken = np.count_nonzero(~np.isfinite(values))
    if broken:
        raise InputError(
            f"{source}: column {column} holds {broken} NaN or infinite values; the mend: {mend}"
        )


def compare(
    results: tuple[Path, ...],
    models: Mapping[str, tuple[Path, ...]],
    output: Path,
    luminosity: float,
    toys: tuple[Path, ...] = (),
) -> None:
    """Compare all methods with the cut-based selection.

    Args:
        results: what :func:`infer` wrote, one per method; one of them is ``cuts``.
        models: folders of the trained folds of each model, each with a ``model.json``.
        output: folder for ``comparison.json``, ``.csv`` and ``.md``.
        luminosity: of the expected events [fb⁻¹].
        toys: what :func:`merge_toys` wrote, of some or all methods.

    Raises:
        InputError: if methods were judged on different events, or cuts are missing.
    """
    read = [read_result(path) for path in results]
    networks = {name: _network(folders) for name, folders in models.items()}
    by_toys = [
        read_written(path, TOYS.validate_json, "no toys", "hepml merge-toys") for path in toys
    ]
    comparison = with_toys(compared(read, networks), by_toys)
    write_json(output / "comparison.json", _as_json(comparison))
    with new_file(output / "comparison.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(Row.__dataclass_fields__))
        writer.writeheader()
        writer.writerows(vars(row) for row in comparison.rows)
    with new_file(output / "comparison.md") as path:
        path.write_text(markdown(comparison, luminosity), encoding="utf-8")


def _as_json(comparison: Comparison) -> dict[str, object]:
    return vars(comparison) | {"rows": [vars(row) for row in comparison.rows]}


def read_result(path: Path) -> Result:
    """What :func:`infer` wrote."""
    return read_written(path, RESULT.validate_json, "not a result", "hepml infer")


def read_written(path: Path, parse: Callable[[bytes], T], kind: str, command: str) -> T:
    """A JSON file which a command writes.

    Args:
        path: of the file.
        parse: makes of its bytes what is in it.
        kind: what the file is not, if it is of another version.
        command: that writes it.

    Raises:
        InputError: if it is absent or not of this version.
    """
    try:
        return parse(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such result; run `{command}`") from None
    except ValidationError as error:
        raise InputError(
            f"{path}: {kind} of this version; run `{command}` again: {error}"
        ) from None


def _network(folders: tuple[Path, ...]) -> Network:
    """What it took to train all folds of one model."""
    described = []
    for folder in folders:
        path = folder / "model.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            described.append(
                Network(
                    int(content["parameters"]),
                    float(content["macs"]),
                    float(content["seconds"]),
                    content["device"],
                )
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: no parameters, macs, seconds and device of a trained model here "
                f"({error!r}); run `hepml train`"
            ) from None
    if not described:
        raise InputError("comparison: a model without folders; give one per fold")
    return Network(
        parameters=described[0].parameters,
        macs=sum(network.macs for network in described) / len(described),
        seconds=sum(network.seconds for network in described),
        device=", ".join(sorted({network.device for network in described})),
    )
