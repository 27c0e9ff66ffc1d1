"""What the diagnostics of one method say: the content of ``inference/<method>.closure.json``."""

from dataclasses import dataclass

from pydantic import TypeAdapter

from hepml.inference.diagnostics.oracle import Distance, Limit
from hepml.inference.diagnostics.overtraining import Overtraining
from hepml.inference.diagnostics.reweighting import Reweighted
from hepml.inference.diagnostics.sculpting import Sculpting
from hepml.inference.metrics import Estimate


@dataclass(frozen=True)
class Checks:
    """Of one network on the fold it never saw, or of all of them.

    Attributes:
        cross_entropy: of balanced classes [nats].
        two_sample: AUC of a network that tells signal from the reweighted mixture; ½ if the ratio
            closes.
        overtraining: events seen against events not seen.
        oracle: distance to the exact ratio; None where it is not known.
    """

    cross_entropy: Estimate
    two_sample: Estimate
    overtraining: Overtraining
    oracle: Distance | None


@dataclass(frozen=True)
class Diagnostics:
    """All diagnostics of one method.

    Attributes:
        variables: in which the reweighting is tested.
        complete: whether the network reads these variables, so that its ratio is to close in them.
        two_sample_before: AUC that the score itself has between signal and the mixture before it
            is reweighted.
        all: folds together; None for cuts, which have no score.
        folds: each by itself.
        reweighted: variable by variable.
        sculpting: of a variable of the background; None if none is named, or too little passes.
        limit: what the exact ratio reaches; None where it is not known.
    """

    method: str
    title: str
    variables: list[str]
    complete: bool
    two_sample_before: float | None
    all: Checks | None
    folds: list[Checks]
    reweighted: list[Reweighted]
    sculpting: Sculpting | None
    limit: Limit | None
    warnings: list[str]


DIAGNOSTICS = TypeAdapter(Diagnostics)  # reads and writes the JSON
