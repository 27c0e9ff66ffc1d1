"""Changed copies of simulated ntuples, without simulating the collisions again."""

from pathlib import Path
from typing import Any

import numpy as np
import uproot

from hepml.artifacts import new_file
from hepml.config import VariationJob
from hepml.data.folds import event_ids
from hepml.data.ntuples import Tree, open_file, open_tree
from hepml.data.schemas import resolve
from hepml.data.variations import Change, read_change
from hepml.errors import InputError
from hepml.simulation.trees import COMPRESSION, append
from hepml.simulation.variations.jets import varied

SCHEMA = "simulation"  # what `hepml simulate` writes


def vary(job: VariationJob, source: Path, output: Path) -> None:
    """Change the particles of simulated jets and measure the jets again.

    Args:
        job: the variation and the settings that the jets were simulated with.
        source: ROOT file that ``hepml simulate`` wrote.
        output: ROOT file of the same trees, written whole or not at all; the normalisation in
            ``runs`` is the nominal one.

    Raises:
        InputError: if the file holds no simulated jets, the variation cannot be applied, or no
            jet is left.
    """
    change = read_change(job.variation, resolve(SCHEMA))
    with (
        open_file(str(source)) as file,
        new_file(output) as temporary,
        uproot.recreate(temporary, compression=COMPRESSION) as written,
    ):
        jets = _write_jets(open_tree(file, str(source), "tree"), change, job, written)
        if jets == 0:
            raise InputError(f"{source}: {job.variation.key} leaves no jet")
        runs = open_tree(file, str(source), "runs")
        for chunk in runs.chunks(set(runs.branches)):
            append(written, "runs", {n: np.asarray(chunk.arrays[n]) for n in runs.branches})


def _write_jets(
    tree: Tree,
    change: Change,
    job: VariationJob,
    written: Any,  # noqa: ANN401
) -> int:
    """Write the changed jets chunk by chunk; gives how many there are."""
    needed = ("part_px", "jet_sdmass", "event_id")
    tree.require(dict.fromkeys(needed, "hepml vary, which takes simulated jets"))
    tree.require(dict(change.wanted()))
    names = [name for name in tree.branches if name != "npart"]
    jets = 0
    for chunk in tree.chunks(set(names)):
        nominal = {name: chunk.arrays[name] for name in names}  # in the order of the tree
        ids = event_ids([np.asarray(nominal["event_id"])])
        try:
            effect = change.effect(nominal, ids)
            changed = change.apply(nominal, ids)
        except InputError as error:
            raise InputError(f"{tree.file}: {error}") from None
        columns = _varied(nominal, changed, effect, job.simulation.jet_radius)
        if columns:
            append(written, "tree", columns)
            jets += len(columns["event_id"])
    return jets


def _varied(*arguments: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        return varied(*arguments)
    except ModuleNotFoundError as error:
        if error.name not in ("pythia8mc", "fastjet", "vector"):
            raise
        raise InputError(
            f"jets are measured with {error.name}, which is not installed; run "
            '`pip install "hepml-workflow[simulate]"`'
        ) from None
