"""Members of an ensemble: their seeds, and what they cost together."""

import hashlib
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from hepml.config import TrainingJob

# of one network, in model.json: what its training did, and where it ran
RECORD = (
    *("history", "best_epoch", "seconds", "events_per_second", "precision"),
    *("device", "device_name", "processes", "threads", "peak_memory_mb", "peak_gpu_memory_mb"),
)


def seed_of(job: TrainingJob, fold: int) -> int:
    """What initialises the weights, and then shuffles and drops out; differs between members.

    PyTorch takes 32 bits of it on a CPU.
    """
    if job.member == 0:
        return job.seed * 1000 + fold
    digest = hashlib.sha256(f"{job.seed}/{fold}/{job.member}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def record_of(description: Mapping[str, Any]) -> dict[str, Any]:
    """What ``model.json`` says about the training of one network."""
    return {name: description[name] for name in RECORD if name in description}


def summary(members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Records of the members as that of one network.

    Seconds add up, memory is the most, events per second are the median, and the losses those of
    the first; the whole of each stands in ``members`` if there are several.
    """
    if len(members) == 1:
        return dict(members[0])
    content = dict(members[0])
    content["seconds"] = sum(member["seconds"] for member in members)
    content["events_per_second"] = statistics.median(m["events_per_second"] for m in members)
    for name in ("peak_memory_mb", "peak_gpu_memory_mb"):
        if name in content:
            content[name] = max(member[name] for member in members)
    return content | {"members": [dict(member) for member in members]}
