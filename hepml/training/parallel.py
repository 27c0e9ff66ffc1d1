"""One training in several processes, started by torchrun: who is who, and what they agree on.

Each process takes its part of every batch. Gradients are summed in one piece after the backward
pass, and not by DistributedDataParallel, which takes the mean over processes where a batch's loss
is a sum over its parts, and wraps the network, which has to be compiled, averaged and stored. To
begin the sum earlier would not pay: the largest of our networks has 2 million parameters.

All processes hold the same weights and know the same losses, so that they decide alike. What only
one of them can know, a clock, a signal, a file, they agree on by messages on the CPU.
"""

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import Store, rendezvous  # type: ignore[attr-defined]

from hepml.errors import InputError, InterruptedTrainingError
from hepml.models.batch_norm import share_norms
from hepml.training.state import State, pack, unpack

_PATIENCE = timedelta(hours=2)  # for the first process, which alone calibrates and writes
_FAREWELL = 30.0  # seconds in which torchrun ends the others after one has failed


class LostProcessError(InputError):
    """Another process of the same training is gone."""


@dataclass(frozen=True)
class World:
    """The processes of one training; without arguments there is only this one, and nobody to ask.

    Attributes:
        rank: number of this process; the first one, 0, speaks and writes for all.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this process speaks and writes."""
        return self.rank == 0

    def part(self, batch: Tensor) -> Tensor:
        """What of a batch is for this process: nearly equal parts, in the order of the ranks."""
        return batch if self.size == 1 else batch.tensor_split(self.size)[self.rank]

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Which of some flags are up in at least one process."""
        if self.size == 1:
            return flags
        return tuple(flag > 0 for flag in total(torch.tensor(flags, dtype=torch.int32)).tolist())

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self.any(False)

    def total(self, x: Tensor) -> Tensor:
        """The sum of a tensor over the processes, the same bit for bit in each."""
        return x if self.size == 1 else total(x)

    def take_in(self, network: nn.Module) -> None:
        """Make a network ready to be trained together: the same weights, shared batch norms.

        Raises:
            InputError: if it has a batch norm of an unknown kind.
        """
        if self.size == 1:
            return
        share_norms(network, total)
        with _connected():
            for value in network.state_dict().values():
                in_order = value.contiguous()
                dist.broadcast(in_order, 0)
                value.copy_(in_order)

    def sum_gradients(self, parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
        """Sum gradients over the processes in place; give the sum of the losses of all parts.

        A parameter that no event of a part has used counts as one without gradient there, and gets
        the sum of the others.
        """
        if self.size == 1:
            return loss
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = total(torch.cat([loss.reshape(1), *(each.flatten() for each in gradients)]))
        summed = flat[1:].split([each.numel() for each in gradients])
        for each, of_all in zip(gradients, summed, strict=True):
            each.copy_(of_all.view(each.shape))  # keeps its order in memory, which steps rely on
        return flat[0].to(loss.dtype)

    def draw_apart(self) -> None:
        """Let each process draw random numbers of its own from now on, as for dropout.

        The first one goes on as a process alone would.
        """
        if not self.first:
            torch.manual_seed((torch.initial_seed() + 0x9E3779B1 * self.rank) % 2**32)

    def of_each(self, state: State) -> list[State]:
        """What each process has to keep of its own, by rank."""
        if self.size == 1:
            return [state]
        content = _as_tensor(pack(state))
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with _connected():
            dist.all_gather(sizes, torch.tensor([len(content)]))
            longest = max(int(size) for size in sizes)
            everything = [torch.empty(longest, dtype=torch.uint8) for _ in sizes]
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(content)] = content
            dist.all_gather(everything, padded)
        contents = zip(everything, sizes, strict=True)
        return [unpack(each[: int(size)].numpy().tobytes()) for each, size in contents]

    def of_first(self, state: State | None) -> State | None:
        """What the first process knows; what others give does not count."""
        if self.size == 1:
            return state
        content = _as_tensor(pack({"state": state if self.first else None}))
        size = torch.tensor([len(content)])
        with _connected():
            dist.broadcast(size, 0)
            content = content if self.first else torch.empty(int(size), dtype=torch.uint8)
            dist.broadcast(content, 0)
        return unpack(content.numpy().tobytes())["state"]


ALONE = World()


def total(x: Tensor) -> Tensor:
    """The sum of a tensor over all processes, in place."""
    with _connected():
        dist.all_reduce(x)
    return x


@contextmanager
def joined(environment: Mapping[str, str] = os.environ) -> Iterator[World]:
    """Join the processes that torchrun started, until the block ends.

    An error in one process ends all. It is told by the process that failed first; the others,
    which have the same error or have lost that process, end without a word.

    Args:
        environment: of a process started by torchrun.
    """
    size, neighbours = int(environment["WORLD_SIZE"]), int(environment["LOCAL_WORLD_SIZE"])
    if size == 1:
        yield ALONE
        return
    torch.set_num_threads(_threads(neighbours, environment))
    store, rank, size = next(rendezvous("env://", timeout=_PATIENCE))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=_PATIENCE)
    world = World(rank, size)
    attempt = environment.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        yield world
    except InterruptedTrainingError:  # of all at once
        with suppress(LostProcessError):
            world.wait()  # for the first one, which gives its lease back
        if world.first:
            raise
        sys.exit(os.EX_TEMPFAIL)
    except (Exception, KeyboardInterrupt):
        if _first_to_fail(store, f"hepml/{attempt}/failed", rank):
            raise
        time.sleep(_FAREWELL)  # not to have torchrun end the one that is about to speak
        sys.exit(1)
    except SystemExit as end:
        if not end.code:
            dist.destroy_process_group()
        raise
    dist.destroy_process_group()


def _threads(neighbours: int, environment: Mapping[str, str]) -> int:
    """Threads of one process: a share of the cores, or fewer if OMP_NUM_THREADS says so.

    What Snakemake sets for a job, MKL_NUM_THREADS among it, would hold for each of its processes.
    """
    share = max(1, _cores() // neighbours)
    given = environment.get("OMP_NUM_THREADS", "")
    return min(share, int(given)) if given.isdigit() and int(given) else share


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _first_to_fail(store: Store, key: str, rank: int) -> bool:
    """Whether no other process has failed before."""
    try:
        return store.compare_set(key, "", str(rank)) == str(rank).encode()
    except RuntimeError:
        return rank == 0  # torchrun is gone


def _as_tensor(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


@contextmanager
def _connected() -> Iterator[None]:
    """Say what it means if others do not answer."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LostProcessError(
            f"another process of this training is gone ({str(error).splitlines()[0]}): it was "
            "killed, or its machine lost; the same command goes on from the last checkpoint"
        ) from error
