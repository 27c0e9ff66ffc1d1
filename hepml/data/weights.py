"""From generator weights to expected events."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64

from hepml.config import Runs, Sample, Schema
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
    events_read: int = 0
    negative: int = 0
    terms: list[tuple[float, float | None, float]] = field(default_factory=list)  # of the sums

    @property
    def cross_section(self) -> float | None:
        """Cross-section [pb], the average over the files weighted by their generated events."""
        if not self.has_cross_section or not self.sum_of_weights:
            return None
        return self.cross_section_sum / self.sum_of_weights

    @property
    def cross_section_error(self) -> float | None:
        """Its error [pb], the files being independent estimates."""
        if not self.has_cross_section or not self.sum_of_weights:
            return None
        return self.variance_sum**0.5 / abs(self.sum_of_weights)

    def read(self, runs: Runs, file: Any, path: str) -> None:  # noqa: ANN401
        """Add what the ``runs`` tree of one open file says."""
        tree = open_tree(file, path, runs.tree)
        weights = tree.total(runs.sum_of_weights)
        rows = max(tree.entries, 1)
        cross_section, variance = None, 0.0
        if runs.cross_section is not None:
            cross_section = tree.total(runs.cross_section) / rows * weights
            if runs.cross_section_error is not None:
                variance = (tree.total(runs.cross_section_error) / rows * weights) ** 2
        self.add(weights, cross_section, variance)

    def add(
        self, weights: float, cross_section: float | None = None, variance: float = 0.0
    ) -> None:
        """Add one of the ``terms``.

        Args:
            weights: sum over generated events.
            cross_section: times ``weights`` [pb]; None if the files do not say.
            variance: of that.
        """
        self.terms.append((weights, cross_section, variance))
        self.sum_of_weights += weights
        if cross_section is not None:
            self.has_cross_section = True
            self.cross_section_sum += cross_section
            self.variance_sum += variance

    def count(self, weights: Float64[np.ndarray, " events"]) -> None:
        """Count events that were read, and those of negative weight; signs are kept."""
        self.events_read += len(weights)
        self.negative += int(np.count_nonzero(weights < 0))


def check_normalisation(name: str, sample: Sample, schema: Schema) -> list[str]:
    """What the settings lack to turn generator weights into expected events.

    Args:
        name: of the sample.
        sample: its settings.
        schema: resolved.

    Returns:
        One message per problem; none if all is well.
    """
    if sample.role == "data":
        return []
    problems = []
    known = sample.cross_section or sample.expected_events
    if not known and not (schema.runs and schema.runs.cross_section):
        problems.append(_no_cross_section(name))
    replaced = sample.weight is not None and schema.weight not in (None, sample.weight)
    if schema.runs and replaced and sample.sum_of_weights is None:
        problems.append(
            f"samples.{name}.weight: replaces {schema.weight!r}, of which tree "
            f"{schema.runs.tree!r} holds the sum; give sum_of_weights too, or put corrections into "
            "scale"
        )
    return problems


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
    if not total > 0:
        raise InputError(
            f"samples.{name}: the generator weights of all events sum up to {total:g}, so they "
            f"cannot be normalised; check samples.{name}.weight or give sum_of_weights"
        )
    if sample.expected_events is not None:
        return sample.expected_events / total
    cross_section = sample.cross_section or generated.cross_section
    if cross_section is None or not cross_section > 0:
        raise InputError(_no_cross_section(name))
    return luminosity * cross_section * PICOBARN_PER_INVERSE_FEMTOBARN / total


def _no_cross_section(name: str) -> str:
    return (
        f"samples.{name}: no cross-section; give cross_section [pb] or expected_events, or name "
        "the branch that holds it in data.schema.runs.cross_section"
    )
