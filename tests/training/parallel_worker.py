"""Starts processes that train together, as torchrun does, but imports torch once for all of them.

Reads lines of JSON from standard input, each a list of attempts one after another, and answers with
the exit codes of all processes of each. As under torchrun, the first failure ends the others.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch.distributed import TCPStore

from hepml.cli import main
from hepml.config import TrainingJob
from hepml.configfile import parse
from hepml.errors import InputError
from hepml.models import build
from hepml.provenance import code_digest
from hepml.training import loop, stage
from hepml.training.parallel import ALONE, joined
from hepml.training.task import prepare, standardisation

DEADLINE = 60  # seconds after which a process that waits for ever is killed


class Double:
    """A source in double precision."""

    def __init__(self, source):
        self.source = source

    def take(self, events):
        given = self.source.take(events)
        return tuple(x.double() if x.is_floating_point() else x for x in given)


def fit_precisely(world, settings, data, output):
    """Train in double precision; write losses and weights."""
    job = parse(TrainingJob, settings, "settings")
    task = prepare(job, list(map(Path, data)), 0, torch.device("cpu"), world=world)
    training, stopping = (
        replace(each, source=Double(each.source)) for each in (task.training, task.stopping)
    )
    torch.manual_seed(3)
    network = build(job.model, standardisation(job, task.training)).double()
    result = loop.fit(network, training, stopping, job.model.training, lambda _: None)
    losses = [[e.training_loss, e.validation_loss, e.largest_gradient] for e in result.history]
    drawn = torch.rand(4)
    torch.save([torch.tensor(losses), network.state_dict(), drawn], f"{output}.{world.rank}")


def disturb(number, act):
    """Act after so many steps."""
    original, calls = loop._Run._step, 0

    def counted(run, *batch):
        nonlocal calls
        result = original(run, *batch)
        calls += 1
        if calls == number:
            act(run)
        return result

    loop._Run._step = counted


def fail(*_):
    raise InputError("this process alone has a problem")


def poison(run):
    """From the next step on this process has a loss that is no number."""
    run.parameters[0].data[0] = torch.nan


def run(rank, attempt):
    """One process; does not return."""
    signal.alarm(DEADLINE)
    os.dup2(os.open(attempt["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    ours = attempt.get("rank") in (rank, None)
    act = attempt.get("act") if ours else None
    if isinstance(act, int):
        disturb(attempt["step"], lambda _: os.kill(os.getpid(), act))
    if act in ("fail", "poison"):
        disturb(attempt["step"], {"fail": fail, "poison": poison}[act])
    if act == "fail at the end":
        stage._finish = fail
    try:
        if "precisely" not in attempt:
            main(attempt["arguments"])
        elif attempt["processes"] == 1:
            fit_precisely(ALONE, *attempt["precisely"])
        else:
            with joined() as world:
                fit_precisely(world, *attempt["precisely"])
    except SystemExit as end:
        os._exit(end.code or 0)
    os._exit(0)


def store():
    """Process and port of a store; its threads are not for the process that forks."""
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        served = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        os.write(writable, str(served.port).encode())
        signal.pause()
    port = os.read(readable, 9).decode()
    os.close(readable)
    os.close(writable)
    return child, port


def start(attempt):
    """Exit codes of the processes of one attempt."""
    size, children = attempt["processes"], {}
    server, port = store()
    for rank in range(size):
        child = os.fork()
        if child == 0:
            os.environ |= {
                **{"RANK": str(rank), "LOCAL_RANK": str(rank)},
                **{"WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size)},
                **{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
                **{"TORCHELASTIC_RUN_ID": "test", "TORCHELASTIC_USE_AGENT_STORE": "True"},
            }
            run(rank, attempt)
        children[child] = rank
    codes = [0] * size
    while children:
        child, status = os.wait()
        codes[children.pop(child)] = code = os.waitstatus_to_exitcode(status)
        if code:
            time.sleep(0.1)  # as long as torchrun takes to see it
            for other in children:
                os.kill(other, signal.SIGTERM)
    os.kill(server, signal.SIGKILL)
    os.waitpid(server, 0)
    return codes


# what takes seconds, once
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])
code_digest("hepml.training.stage")
for line in sys.stdin:
    sys.stdout.write(json.dumps([start(attempt) for attempt in json.loads(line)]) + "\n")
    sys.stdout.flush()
