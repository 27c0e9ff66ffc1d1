#!/usr/bin/env python3
"""Says for Snakemake how a Slurm job fares: success, failed or running.

A query that gets no answer says "running": an outage of the scheduler loses no job, and the next
query tells the truth. Only "Invalid job id", which the scheduler itself says of a job that ended
longer ago than its MinJobAge (300 s by default), counts as failed and is done again.
"""

import re
import subprocess
import sys

FAILED = {
    "BOOT_FAIL",
    "CANCELLED",
    "DEADLINE",
    "FAILED",
    "NODE_FAIL",
    "OUT_OF_MEMORY",
    "TIMEOUT",
}


def status(job: str) -> str:
    """The state of a job in Snakemake's words."""
    try:
        answer = subprocess.run(
            ["scontrol", "--oneliner", "show", "job", job],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    except subprocess.TimeoutExpired:
        return "running"
    state = re.search(r"\bJobState=([A-Z_]+)", answer.stdout)
    if state is None:
        return "failed" if "Invalid job id" in answer.stderr else "running"
    if state[1] == "COMPLETED":
        return "success"
    return "failed" if state[1] in FAILED else "running"


if __name__ == "__main__":
    sys.stdout.write(status(sys.argv[1]) + "\n")
