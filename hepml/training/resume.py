"""Checkpoints of a training that was interrupted, from which a later call goes on.

They lie in a folder of their own beside the output, ``<output>.resume``, which Snakemake does not
know and therefore leaves alone when a job fails. It goes when the output is written. A checkpoint
is one file, complete or absent, with the SHA-256 of its content in its name; of each network the
last two are kept.
"""

import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from hepml.artifacts import new_file
from hepml.errors import InterruptedTrainingError
from hepml.training.lease import Lease
from hepml.training.parallel import ALONE, World
from hepml.training.result import Report
from hepml.training.signals import Signals, noted
from hepml.training.state import Keeper, NoKeeper, State, pack, unpack

_GENERATIONS = 2


@dataclass(frozen=True)
class Custody:
    """Who keeps checkpoints in one folder, and when.

    Attributes:
        folder: exists.
        lease: the right to write there, of the first process.
        signals: what this process was asked for.
        minutes: between two checkpoints within an epoch.
        world: the processes that train together.
    """

    folder: Path
    lease: Lease
    signals: Signals
    minutes: float
    world: World


class Checkpoints:
    """The checkpoints of one network; a :class:`~hepml.training.state.Keeper`.

    Processes that train together agree on when to keep and to stop, and the first one writes.

    Args:
        custody: of the folder.
        name: beginning of the names of its files.
        fingerprint: digests of what a checkpoint must agree in.
        report: is told what happens to checkpoints.
    """

    def __init__(
        self, custody: Custody, name: str, fingerprint: Mapping[str, str], report: Report
    ) -> None:
        self._path, self._fingerprint, self._report = custody.folder / name, fingerprint, report
        self._lease, self._signals = custody.lease, custody.signals
        self._seconds, self._world = 60 * custody.minutes, custody.world
        self._saved = time.monotonic()
        self._failed = False

    def found(self) -> State | None:
        """The newest checkpoint that is whole and of this training; others are removed."""
        return self._world.of_first(self._newest() if self._world.first else None)

    def _newest(self) -> State | None:
        for file in self._files()[::-1]:
            content = _whole(file)
            if content is None:
                self._report(f"{file}: damaged, so it is not used")
                file.unlink(missing_ok=True)
                continue
            state = unpack(content)
            differ = [k for k, v in self._fingerprint.items() if state["fingerprint"].get(k) != v]
            if not differ:
                return state
            self._report(
                f"{self._path.parent}: checkpoints of other {' and '.join(differ)} are removed; "
                "the training begins"
            )
            self._keep_last(0)
        return None

    def between(self, state: Callable[[], State]) -> None:
        """Keep the state if it is time or a signal asked for it; stop if one asked for that."""
        self._act(state, due=time.monotonic() - self._saved >= self._seconds)

    def after_epoch(self, state: Callable[[], State]) -> None:
        """Keep the state; stop if a signal asked for it."""
        self._act(state, due=True)

    def _act(self, state: Callable[[], State], due: bool) -> None:
        due, asked, stop = self._world.any(due, self._signals.save, self._signals.stop)
        if not (due or asked or stop):
            return
        self._signals.save = False
        done = self._save(state)
        if stop:
            raise InterruptedTrainingError(
                f"stopped by SIGTERM; {self._path.parent} has all that is needed: the same command "
                "goes on from there"
                if done
                else f"stopped by SIGTERM, and {self._path.parent} could not be written: the same "
                "command goes on from the last checkpoint before, if there is one"
            )
        if asked and done:
            self._report(f"kept in {self._path.parent}, as SIGUSR1 asked")

    def _save(self, state: Callable[[], State]) -> bool:
        """Write a checkpoint; a disk that is full must not end the training."""
        if self._world.first:
            self._lease.require()
        whole = state() | {"fingerprint": self._fingerprint}  # which processes make together
        self._saved = time.monotonic()
        done = not self._world.first or self._written(pack(whole))
        (failed,) = self._world.any(not done)  # and wait: who stops first ends all
        return not failed

    def _written(self, content: bytes) -> bool:
        try:
            self._write(content)
            self._keep_last(_GENERATIONS)
        except OSError as error:
            if not self._failed:
                self._report(
                    f"warning: no checkpoint could be written in {self._path.parent} "
                    f"({error.strerror}); the training goes on, and the one before stays"
                )
            self._failed = True
            return False
        self._failed = False
        return True

    def _write(self, content: bytes) -> None:
        files = self._files()
        number = 1 + (_number(files[-1]) if files else 0)
        digest = hashlib.sha256(content).hexdigest()
        name = f"{self._path.name}-{number:06d}-{digest}.safetensors"
        with new_file(self._path.with_name(name)) as file:
            file.write_bytes(content)

    def _files(self) -> list[Path]:
        """Files of this network, the newest last."""
        return sorted(self._path.parent.glob(f"{self._path.name}-*.safetensors"), key=_number)

    def _keep_last(self, number: int) -> None:
        files = self._files()
        for file in files[: len(files) - number]:
            file.unlink(missing_ok=True)


class Resumable:
    """What can go on from checkpoints in one folder: the networks of one output.

    Args:
        custody: of the folder; None to keep no checkpoints.
    """

    def __init__(self, custody: Custody | None = None) -> None:
        self._custody = custody

    def keeper(
        self, member: int, fingerprint: Callable[[], Mapping[str, str]], report: Report
    ) -> Keeper:
        """What keeps the state of one network."""
        if self._custody is None:
            return NoKeeper()
        digests = fingerprint() if self._custody.world.first else {}
        return Checkpoints(self._custody, f"network{member}", digests, report)

    def require(self) -> None:
        """Raise LostError if another process has taken over."""
        if self._custody is not None:
            self._custody.lease.require()

    def finished(self) -> None:
        """Remove all checkpoints: the output is written."""
        if self._custody is not None:
            shutil.rmtree(self._custody.folder, ignore_errors=True)


@contextmanager
def resumable(
    output: Path, minutes: float | None, report: Report, world: World = ALONE
) -> Iterator[Resumable]:
    """Keep checkpoints beside an output, as the only training that does.

    Args:
        output: that will be written.
        minutes: between two checkpoints within an epoch; None to keep none.
        report: is told what happens.
        world: the processes that train together; the first one writes.

    Raises:
        InputError: if another training of the same is running.
    """
    folder = output.with_name(f"{output.name}.resume")
    lease = Lease(folder)
    (taken,) = world.any(minutes is not None and world.first and _taken(lease, folder, report))
    if minutes is None or not taken:
        yield Resumable()
        return
    try:
        with noted() as signals:
            yield Resumable(Custody(folder, lease, signals, minutes, world))
    finally:
        if world.first:
            lease.end()
            with suppress(OSError):
                folder.rmdir()  # if it is empty


def _taken(lease: Lease, folder: Path, report: Report) -> bool:
    """Whether checkpoints can be written in a folder from now on."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lease.take(report)
        for rest in folder.glob(".*.safetensors"):
            rest.unlink(missing_ok=True)  # of a process that was killed while it wrote
    except OSError as error:
        report(
            f"warning: no checkpoints can be written in {folder} ({error.strerror}): if this "
            "training is interrupted, the next one begins anew"
        )
        with suppress(OSError):
            folder.rmdir()
        return False
    return True


def _number(file: Path) -> int:
    return int(file.name.rsplit("-", 2)[1])


def _whole(file: Path) -> bytes | None:
    """Content of a checkpoint; None if it cannot be read or is not what was written."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    right = hashlib.sha256(content).hexdigest() == file.stem.rsplit("-", 1)[1]
    return content if right else None
