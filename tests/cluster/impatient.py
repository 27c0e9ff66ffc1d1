"""Snakemake that asks for the state of jobs every second; its plugins wait 5 s to 3 min."""

import asyncio

from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor


async def _a_second(executor):  # noqa: ARG001
    await asyncio.sleep(1)


RemoteExecutor.sleep = _a_second

if __name__ == "__main__":
    main()
