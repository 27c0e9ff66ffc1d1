"""A process that does named jobs on request and says what each costs: one side of a comparison.

Requests and answers are lines of JSON on its standard streams, so that the two sides may run under
different interpreters. Only the standard library is used here.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


class Worker:
    """A process that runs a script with :func:`serve` at its end, on one thread.

    Args:
        python: interpreter.
        script: what it runs.
        arguments: of the script.
    """

    def __init__(self, python: Path, script: Path, *arguments: str) -> None:
        environment = os.environ | dict.fromkeys(THREADS, "1") | {"TQDM_DISABLE": "1"}
        self._process = subprocess.Popen(
            [python, script, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, job: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401
        """Let it do a job; what it answers, its ``seconds`` and those on the ``wall``."""
        streams = self._process.stdin, self._process.stdout
        if streams[0] is None or streams[1] is None:
            raise RuntimeError("worker without pipes")
        streams[0].write(json.dumps({"job": job} | arguments) + "\n")
        streams[0].flush()
        answer = streams[1].readline()
        if not answer:
            raise SystemExit(f"the worker ended at {job!r}; its message stands above")
        return json.loads(answer)

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


def serve(jobs: dict[str, Callable[..., dict[str, Any]]], clock: Callable[[], float]) -> None:
    """Do jobs until the requests end.

    Args:
        jobs: by name.
        clock: seconds, read before and after each job.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints must not get among the answers
    for line in sys.stdin:
        request = json.loads(line)
        job = jobs[request.pop("job")]
        started = clock(), time.perf_counter()
        answer = job(**request)
        cost = {"seconds": clock() - started[0], "wall": time.perf_counter() - started[1]}
        answers.write(json.dumps(cost | answer) + "\n")


def choose_clock(device: str) -> Callable[[], float]:
    """CPU time of this process, or on a GPU the time on the wall when all its work is done."""
    if device == "cpu":
        return time.process_time
    import torch

    def wall() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return wall
