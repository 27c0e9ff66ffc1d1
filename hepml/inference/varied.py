"""Changed copies of samples: where their columns and scores lie."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Varied:
    """One sample under one variation of its objects.

    Attributes:
        variation: ``<systematic>_up`` or ``<systematic>_down``.
        sample: number of the sample among the nominal folders.
        data: folder of its columns.
        scores: parquet file of its scores; None for the cuts.
    """

    variation: str
    sample: int
    data: Path
    scores: Path | None = None
