"""Who may write checkpoints in a folder: one process at a time.

A job that a batch system removed may go on beside its retry. Both write to one shared file system
and neither can ask the other, so that the holder of the lease moves the modification time of a file
again and again, and whoever finds the file looks whether it moves. Clocks are not compared: only
that the time changes counts, and the watch of who waits.
"""

import json
import os
import socket
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from hepml.errors import InputError
from hepml.training.result import Report

_BEAT = 20.0  # seconds between two signs of life
_PATIENCE = 90.0  # without one until a holder counts as dead; NFS shows changes after up to 60 s


class LostError(InputError):
    """Another process has taken over what this one was training."""


@dataclass(frozen=True)
class Holder:
    """A process that holds a lease.

    Attributes:
        host: its name.
        space: of process numbers on that host; containers have their own.
        pid: its number.
        started: when, in ticks since the host was booted; numbers are used again.
        token: of this lease alone.
    """

    host: str
    space: str
    pid: int
    started: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Lease:
    """The right to train what a folder keeps the checkpoints of.

    Args:
        folder: exists; gets ``lease.json``.
        beat: seconds between two signs of life.
        patience: seconds without one after which the lease of another counts as expired.
    """

    def __init__(self, folder: Path, beat: float = _BEAT, patience: float = _PATIENCE) -> None:
        self._path = folder / "lease.json"
        self._beat, self._patience = beat, patience
        self._me = _me()
        self._over = threading.Event()

    def take(self, report: Report) -> None:
        """Wait until nobody else holds the lease.

        Raises:
            InputError: if a living process does.
            OSError: if the folder cannot be written.
        """
        holder = _read(self._path)
        if holder is not None and not _dead(holder):
            self._wait(holder, report)
        self._write()
        threading.Thread(target=self._live, name="lease", daemon=True).start()

    def require(self) -> None:
        """Raise LostError if another process has taken the lease, or the folder is gone."""
        holder = _read(self._path)
        if holder is None or holder.token != self._me.token:
            other = holder or "another process, which is done with it or removed its folder"
            raise LostError(
                f"{self._path.parent}: this training was taken over by {other}; nothing more is "
                "written here"
            )

    def end(self) -> None:
        """Leave the lease to others, if it is still ours."""
        self._over.set()
        holder = _read(self._path)
        if holder is not None and holder.token == self._me.token:
            self._path.unlink(missing_ok=True)

    def _wait(self, holder: Holder, report: Report) -> None:
        """Look for a sign of life."""
        alive = InputError(
            f"{self._path.parent}: {holder} is training this and alive; wait for it or end it"
        )
        if _same_place(holder, self._me):
            raise alive
        report(f"{holder} was training this: waiting {self._patience:.0f} s for a sign of life")
        seen, until = _sign(self._path), time.monotonic() + self._patience
        while time.monotonic() < until:
            time.sleep(min(self._beat / 4, self._patience / 10))
            if _sign(self._path) not in (seen, None):
                raise alive
        report(f"{holder} gives no sign of life: going on without it")

    def _write(self) -> None:
        temporary = self._path.with_name(f".lease.{self._me.token}")
        try:
            temporary.write_text(json.dumps(asdict(self._me)), encoding="utf-8")
            temporary.replace(self._path)
        finally:
            temporary.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._over.wait(self._beat):
            holder = _read(self._path)
            if holder is None or holder.token != self._me.token:
                return  # the training finds out before it writes
            try:
                os.utime(self._path)  # takes no room on a full disk
            except OSError:
                continue  # a file system that is away for a while


def _me() -> Holder:
    pid = os.getpid()
    return Holder(socket.gethostname(), _space(), pid, _started(pid), uuid.uuid4().hex)


def _space() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""  # not Linux


def _started(pid: int) -> str:
    """When a process of this host began; empty if that is not known."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rsplit(")", 1)[1].split()[19]  # field 22; the name before may hold anything


def _same_place(one: Holder, other: Holder) -> bool:
    return (one.host, one.space) == (other.host, other.space)


def _dead(holder: Holder) -> bool:
    """Whether a process is known to have ended."""
    if not _same_place(holder, _me()):
        return False
    try:
        os.kill(holder.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # it is somebody else's
    return _started(holder.pid) != holder.started


def _read(path: Path) -> Holder | None:
    """Who holds a lease; None if nobody does or the file is damaged."""
    try:
        return Holder(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _sign(path: Path) -> tuple[int, int] | None:
    """What changes with each sign of life; the file is opened, which makes NFS look again."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino
