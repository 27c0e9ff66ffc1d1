#!/usr/bin/env python3
"""Submits a job to Slurm: sbatch, which is asked again as long as it does not reach the scheduler.

Any other failure is one, also an answer that is lost: the job may have been submitted.
"""

import subprocess
import sys
import time

UNREACHED = "Unable to contact slurm controller (connect failure)"
PAUSE = 1.0  # seconds; sbatch itself has tried for ten by default


def submit(words: list[str]) -> int:
    """Exit code of the last sbatch; its number of the job goes to standard output."""
    while True:
        answer = subprocess.run(
            ["sbatch", "--parsable", *words], stderr=subprocess.PIPE, text=True, check=False
        )
        sys.stderr.write(answer.stderr)
        if answer.returncode == 0 or UNREACHED not in answer.stderr:
            return answer.returncode
        sys.stderr.write("the scheduler is away: the job will be submitted when it is back\n")
        time.sleep(PAUSE)


if __name__ == "__main__":
    sys.exit(submit(sys.argv[1:]))
