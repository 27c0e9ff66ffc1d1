"""Which diagnostics fail, in words."""

from hepml.config import DiagnosticsJob
from hepml.errors import InputError
from hepml.inference.diagnostics.oracle import Limit
from hepml.inference.diagnostics.record import Checks, Diagnostics
from hepml.inference.metrics import Estimate

ERRORS = 3.0  # standard errors before a departure counts
ALLOWED_TWO_SAMPLE = 0.003  # of an AUC: an exact ratio reweights finite samples with this bias
ALLOWED_AUC = 0.01  # gained on events seen
ALLOWED_CROSS_ENTROPY = 0.02  # [nats], likewise
BETTER_THAN_EXACT = 5e-4  # of AUC and cross-entropy [nats]
BETTER_Z = 0.01  # of the ratio of significances


def judged(job: DiagnosticsJob, found: Diagnostics) -> list[str]:
    """What fails, and what a reader should know besides.

    Raises:
        InputError: if something fails and ``inference.gate`` is "fail".
    """
    failed = failures(job, found)
    if failed and job.inference.gate == "fail":
        raise InputError(
            "\n".join(
                f"inference: {job.method}: {text}; mend the training, or set inference.gate: warn"
                for text in failed
            )
        )
    return [*failed, *_remarks(found)]


def failures(job: DiagnosticsJob, found: Diagnostics) -> list[str]:
    """Checks that fail by more than statistics and a small allowance."""
    said = []
    if found.all:
        said += _of_checks(found.all, found.complete, "")
        for fold, checks in enumerate(found.folds if not said else []):
            said += _of_checks(checks, found.complete, f" in fold {fold}")
    if found.limit:
        said += _of_limit(found.limit)
    largest = job.inference.largest_sculpting
    if found.sculpting and largest is not None:
        divergence = found.sculpting.divergence
        if divergence.value > largest + ERRORS * divergence.error:
            said.append(
                f"{found.sculpting.variable} of the background is sculpted: a Jensen-Shannon "
                f"divergence of {_told(divergence)} bits, where {largest:g} is allowed"
            )
    return said


def _of_checks(checks: Checks, complete: bool, where: str) -> list[str]:
    said = []
    if complete and not _closes(checks.two_sample):
        said.append(
            f"reweighting to signal does not close{where}: a network tells the two apart with an "
            f"AUC of {_told(checks.two_sample)}"
        )
    for name, gain, allowed, unit in (
        ("AUC", checks.overtraining.auc, ALLOWED_AUC, ""),
        ("cross-entropy", checks.overtraining.cross_entropy, ALLOWED_CROSS_ENTROPY, " nats"),
    ):
        if gain.value > allowed + ERRORS * gain.error:
            said.append(
                f"over-training{where}: on events seen the {name} is better by {_told(gain)}{unit}"
            )
    if checks.oracle:
        for name, gap, unit in (
            ("AUC", checks.oracle.auc, ""),
            ("cross-entropy", checks.oracle.cross_entropy, " nats"),
        ):
            if gap.value < -BETTER_THAN_EXACT - ERRORS * gap.error:
                said.append(
                    f"the score is better than the exact ratio{where}, its {name} by "
                    f"{_told(Estimate(-gap.value, gap.error))}{unit}, which no honest score is"
                )
    return said


def _of_limit(limit: Limit) -> list[str]:
    if limit.z_ratio.value <= 1 + BETTER_Z + ERRORS * limit.z_ratio.error:
        return []
    return [
        f"the unbinned significance is {_told(limit.z_ratio)} times that of the exact ratio, which "
        "is the largest there is"
    ]


def _remarks(found: Diagnostics) -> list[str]:
    """What need not be a mistake of the network."""
    if not found.all or found.complete or _closes(found.all.two_sample):
        return []
    return [
        "reweighting to signal does not close in the variables of the analysis (a network tells "
        f"the two apart with an AUC of {_told(found.all.two_sample)}), of which this network may "
        "not see all"
    ]


def _closes(auc: Estimate) -> bool:
    return abs(auc.value - 0.5) <= ALLOWED_TWO_SAMPLE + ERRORS * auc.error


def _told(found: Estimate) -> str:
    return f"{found.value:.4f} ± {found.error:.4f}"
