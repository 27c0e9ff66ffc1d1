"""Files that samples are read from, and how they are shared out over jobs."""

import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from hepml.config import DataJob, Sample
from hepml.errors import InputError


def is_remote(path: str) -> bool:
    """Whether a file is read over the network: ``root://``, ``https://`` and so on."""
    return "://" in path


def matching_files(name: str, sample: Sample, key: str = "") -> list[str]:
    """Files that the patterns of a sample match, sorted within each pattern, and URLs as they are.

    Args:
        name: of the sample.
        sample: its settings.
        key: of the config where the patterns stand, if not the sample's own.

    Raises:
        InputError: if a pattern matches nothing, or two match the same file.
    """
    files: list[str] = []
    problems = []
    key = key or f"samples.{name}.files"
    for pattern in sample.files:
        # patterns may be absolute, which pathlib's glob does not take
        found = [pattern] if is_remote(pattern) else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not found:
            problems.append(f"{key}: no file matches {pattern!r} (relative to {Path.cwd()})")
        files += found
    problems += [
        f"{key}: {file!r} is matched twice; its events would count twice"
        for file in given_twice(files)
    ]
    if problems:
        raise InputError("\n".join(problems))
    return files


def given_twice(files: Sequence[str]) -> list[str]:
    """Files that stand in a list more than once, under the same name or another."""
    seen: dict[str, str] = {}
    twice = []
    for file in files:
        true_name = file if is_remote(file) else os.path.realpath(file)
        if true_name in seen:
            twice.append(file)
        seen[true_name] = file
    return list(dict.fromkeys(twice))


def files_of(job: DataJob) -> list[str]:
    """Files that a job of the data stage reads, unless they are simulated here.

    Raises:
        InputError: if a pattern matches nothing, or two match the same file.
    """
    varied = job.variation and job.variation.objects.files
    key = f"{job.variation.key}.files.{job.name}" if job.variation and varied else ""
    return matching_files(job.name, job.sample, key)


def local_files(job: DataJob) -> list[str]:
    """Files of a job of the data stage on disk, where the patterns match."""
    return [file for file in files_of(job) if not is_remote(file)]


def remote_files(job: DataJob) -> list[str]:
    """Files of a job of the data stage that are read over the network."""
    return [path for path in job.sample.files if is_remote(path)]


def sizes(paths: Sequence[str]) -> str:
    """Digest of the sizes of files on disk: of a file put there with its older time, it differs.

    Snakemake takes a file that is older than what was made of it for unchanged.
    """
    known = [str(Path(path).stat().st_size) if Path(path).exists() else "" for path in paths]
    return hashlib.sha256(" ".join(known).encode()).hexdigest()[:16]


def batches(number: int, files_per_job: int) -> list[slice]:
    """Consecutive files of a sample that one job reads; none if one job reads them all.

    A file that is added at the end leaves all batches but the last as they were.
    """
    if number <= files_per_job:
        return []
    return [slice(i, i + files_per_job) for i in range(0, number, files_per_job)]
