"""What jobs ask of a machine or a batch system, in the words of every executor.

Nothing here can change a result. Numbers are estimates for the reference analysis: a job that is
killed for its memory or its time asks for more at its next attempt, if the profile allows one.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

# two nested Snakemake processes of 135 MB each run beside the command of a batch job (measured with
# the Slurm plugin 2.8.0); a job that asks for less than 600 MB in all risks to be killed by them
OVERHEAD_MB = 300
# device files of NVIDIA's driver, of AMD's, and of Windows' subsystem for Linux
CARDS = ("nvidia[0-9]*", "kfd", "dxg")

Resource = int | Callable[..., int]


def needs(memory: int, minutes: int, gpu: bool = False) -> dict[str, Resource]:
    """Resources of a rule; Slurm, HTCondor and a single machine each read their own words.

    Args:
        memory: what the command itself needs in its first attempt, in MB.
        minutes: its longest time in the first attempt.
        gpu: whether a GPU serves. One is asked for where this machine has some, so that jobs take
            it in turn and nobody waits for one that is not there; the profiles of batch systems
            say for themselves which rules get one.
    """

    def megabytes(wildcards: object, attempt: int) -> int:  # noqa: ARG001, Snakemake gives it
        return (memory + OVERHEAD_MB) * attempt

    def runtime(wildcards: object, attempt: int) -> int:  # noqa: ARG001
        return minutes * attempt

    words: dict[str, Resource] = {
        "mem_mb": megabytes,
        "htcondor_request_mem_mb": megabytes,
        "runtime": runtime,
    }
    if gpu:
        number = int(has_gpu())
        words |= {"gpu": number, "request_gpus": number}
    return words


def has_gpu(devices: Path = Path("/dev"), environment: Mapping[str, str] = os.environ) -> bool:
    """Whether a job on this machine may find a GPU, seen without loading PyTorch.

    Args:
        devices: folder of the device files.
        environment: ``HEPML_DEVICE=cpu`` and an empty ``CUDA_VISIBLE_DEVICES`` forbid its use.
    """
    hidden = environment.get("CUDA_VISIBLE_DEVICES", "all").strip() in {"", "-1", "NoDevFiles"}
    if hidden or environment.get("HEPML_DEVICE") == "cpu":
        return False
    return any(next(devices.glob(name), None) for name in CARDS)
