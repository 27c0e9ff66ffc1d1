"""From generator weights to expected events."""

from dataclasses import dataclass
from typing import Any

from hepml.config import Runs, Sample
from hepml.data.ntuples import open_tree
from hepml.errors import InputError

PICOBARN_PER_INVERSE_FEMTOBARN = 1e3


@dataclass
class Generated:
    """What the files say about the generated events, before any selection of ours."""

    sum_of_weights: float = 0.0
    cross_section_sum: float = 0.0  # of cross-section x sum of weights: averages over files
    variance_sum: float = 0.0
    has_cross_section: bool = False

    @property
    def cross_section(self) -> float | None:
        """Cross-section [pb], the average over the files weighted by their generated events."""
        return self.cross_section_sum / self.sum_of_weights if self.has_cross_section else None

    @property
    def cross_section_error(self) -> float | None:
        """Its error [pb], the files being independent estimates."""
        return self.variance_sum**0.5 / self.sum_of_weights if self.has_cross_section else None

    def read(self, runs: Runs, file: Any, path: str) -> None:  # noqa: ANN401
        """Add what the ``runs`` tree of one open file says."""
        tree = open_tree(file, path, runs.tree)
        weights = tree.total(runs.sum_of_weights)
        self.sum_of_weights += weights
        if runs.cross_section is None:
            return
        rows = max(tree.entries, 1)
        self.has_cross_section = True
        self.cross_section_sum += tree.total(runs.cross_section) / rows * weights
        if runs.cross_section_error is not None:
            self.variance_sum += (tree.total(runs.cross_section_error) / rows * weights) ** 2


def normalisation(name: str, sample: Sample, luminosity: float, generated: Generated) -> float:
    """Factor from generator weight to expected events.

    L σ / Σw, the sum going over all generated events before any selection; or the sample's fixed
    yield over Σw; 1 for data.

    Args:
        name: of the sample, for messages.
        sample: its settings.
        luminosity: [fb⁻¹].
        generated: sums over the files.

    Raises:
        InputError: if neither a cross-section nor a yield is known, or Σw is not positive.
    """
    if sample.role == "data":
        return 1.0
    total = sample.sum_of_weights or generated.sum_of_weights
    if total <= 0:
        raise InputError(
            f"samples.{name}: the generator weights of all events sum up to {total:g}, so they "
            "cannot be normalised; check samples.*.weight or give sum_of_weights"
        )
    if sample.expected_events is not None:
        return sample.expected_events / total
    cross_section = sample.cross_section or generated.cross_section
    if cross_section is None:
        raise InputError(
            f"samples.{name}: no cross-section; give cross_section [pb] or expected_events, or "
            "name the branch that holds it in data.schema.runs.cross_section"
        )
    return luminosity * cross_section * PICOBARN_PER_INVERSE_FEMTOBARN / total
