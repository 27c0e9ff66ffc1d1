"""Toys of the inference stage: from results to files of toys, and to significances."""

import json
from pathlib import Path

import numpy as np

from hepml.artifacts import new_file, write_json
from hepml.errors import InputError
from hepml.inference.model import Model
from hepml.inference.results import TOYS, Result, ToyNumbers
from hepml.inference.stage import read_result
from hepml.inference.toys.significance import (
    Toys,
    blocks,
    draw_binned,
    draw_on_off,
    merged,
    toy_significance,
)
from hepml.inference.workspace import likelihood_model


def draw_toys(
    result: Path, workspace: Path, toys: int, part: tuple[int, int], output: Path
) -> None:
    """Draw some of the toys of one method. How many parts there are changes no toy.

    Args:
        result: ``inference/<method>.json``.
        workspace: ``inference/<method>.workspace.json``.
        toys: how many in all parts.
        part: number of this one, and how many there are.
        output: ``.npz`` to write.

    Raises:
        InputError: if a file is not what `hepml infer` wrote, or a fit does not converge.
    """
    content, model = read_result(result), _read_model(workspace)
    on, exposure_ratio = _on_off(content)
    number, parts = part
    columns: dict[str, list[np.ndarray]] = {}
    for block in np.array_split(np.arange(len(blocks(toys))), parts)[number].tolist():
        size = blocks(toys)[block]
        drawn = {
            "binned": draw_binned(model, size, content.seed, block),
            "counting": draw_on_off(on, exposure_ratio, size, (content.seed, block)),
        }
        for estimator, found in drawn.items():
            columns.setdefault(f"{estimator}_q", []).append(found.q)
            columns.setdefault(f"{estimator}_log_weight", []).append(found.log_weight)
    joined = {name: np.concatenate(found) for name, found in columns.items()}
    with new_file(output) as path:
        np.savez(path, **joined)  # type: ignore[arg-type] # no key is one of savez's own arguments


def merge_toys(result: Path, parts: tuple[Path, ...], toys: int, output: Path) -> None:
    """Turn all toys of one method into significances.

    Args:
        result: ``inference/<method>.json``.
        parts: what :func:`draw_toys` wrote, in order.
        toys: how many there have to be.
        output: JSON to write, a :class:`hepml.inference.results.ToyNumbers`.

    Raises:
        InputError: if parts cannot be read or hold another number of toys.
    """
    read = [_read_toys(path) for path in parts]
    counting, binned = (merged([part[name] for part in read]) for name in ("counting", "binned"))
    if len(binned.q) != toys:
        raise InputError(
            f"toys: {len(parts)} files hold {len(binned.q)} toys, expected {toys}; run "
            "`hepml toys` again for every part"
        )
    numbers = ToyNumbers(
        read_result(result).method, toy_significance(counting), toy_significance(binned)
    )
    write_json(output, TOYS.dump_python(numbers, mode="json"))


def _read_toys(path: Path) -> dict[str, Toys]:
    try:
        with np.load(path, allow_pickle=False) as content:
            return {
                name: Toys(content[f"{name}_q"], content[f"{name}_log_weight"])
                for name in ("counting", "binned")
            }
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: no toys here ({error}); run `hepml toys` again") from None


def _read_model(path: Path) -> Model:
    """What the binned fit of a method expects."""
    try:
        return likelihood_model(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: no workspace of `hepml infer` ({error!r}); run it again"
        ) from None


def _on_off(result: Result) -> tuple[tuple[float, float], float]:
    """Signal and background of the working point, and τ of the auxiliary measurement."""
    point = result.working_point
    on = point.signal.expected, point.background.expected
    sigma = result.counting_uncertainty * on[1]
    return on, on[1] / sigma**2 if sigma else np.inf
