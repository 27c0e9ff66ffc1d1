"""What a checkpoint must have in common with the training that goes on from it."""

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import torch

from hepml.artifacts import sha256
from hepml.config import Mlp, OwnOnFeatures, TrainingJob
from hepml.data.store import Columns
from hepml.jobs import member_job
from hepml.provenance import code_digest

_WHOLE = 2**26  # bytes of particles that are read to the last one
_PIECES, _PIECE = 64, 2**16  # of larger files


def fingerprints(
    job: TrainingJob,
    samples: Sequence[Columns],
    fold: int,
    device: torch.device,
    processes: int = 1,
) -> Callable[[int], dict[str, str]]:
    """What gives digests of settings, data and code of one network of an ensemble.

    What is done with the network afterwards does not count: neither the calibration nor how many
    networks make an ensemble.

    Args:
        job: of the ensemble, or of a network that is trained alone.
        samples: opened columns; read when the first digests are asked for.
        fold: that it is tested on.
        device: where it trains; what a GPU began no CPU can go on with, bit for bit.
        processes: that train it together; others than those who began round differently.
    """

    @cache
    def data() -> str:
        return _digest([_contents(sample, job) for sample in samples])

    def of_member(member: int) -> dict[str, str]:
        settings = [member_job(job, member).model_dump_json(), fold]
        code = [code_digest("hepml.training.stage"), torch.__version__, device.type]
        code.append(importlib.metadata.version("hepml-workflow"))
        return {
            "settings": _digest(settings),
            "data": data(),
            "code": _digest(code),
            "number of processes": str(processes),
        }

    return of_member


def _contents(sample: Columns, job: TrainingJob) -> list[str]:
    """Digests of the files of a sample that a training reads."""
    names = ["event_id", "fold", "label", "weight"]
    if isinstance(job.model, Mlp | OwnOnFeatures):
        particles = []
        names += job.model.features
    else:
        particles = [_large(sample.folder / "particles.npy")]
        names.append("offsets")
    return [*(sha256(sample.folder / f"{name}.npy") for name in names), *particles]


def _large(file: Path) -> str:
    """Digest of a file; of many gigabytes only size, time of change and pieces from all over it."""
    status = file.stat()
    if status.st_size <= _WHOLE:
        return sha256(file)
    digest = hashlib.sha256(f"{status.st_size} {status.st_mtime_ns}".encode())
    with file.open("rb") as opened:
        for number in range(_PIECES):
            opened.seek(number * (status.st_size - _PIECE) // (_PIECES - 1))
            digest.update(opened.read(_PIECE))
    return digest.hexdigest()


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
