"""Which of several cards of one machine a process computes on: one that no other has taken.

A batch system gives each job its cards. Without one, a process locks the file of its card for as
long as it lives; the kernel frees the lock however the process ends, so that none is ever stale.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hepml.errors import InputError


@dataclass(frozen=True)
class Card:
    """A card that is ours.

    Attributes:
        index: among those that the process sees.
        lock: descriptor of a file; the card is free again when it is closed.
    """

    index: int
    lock: int


def locks_folder() -> Path:
    """Where the locks of this user lie: locks of several users would need files all can write."""
    return Path(tempfile.gettempdir()) / f"hepml-cards-{os.getuid()}"


def take_card(
    names: Sequence[str],
    folder: Path,
    report: Callable[[str], None],
    seconds: float = 2.0,
) -> Card:
    """Take the first free card; wait for one if there is none.

    Args:
        names: of the cards that the process sees, the same in all processes of the machine,
            whichever cards each of them sees.
        folder: of the locks; made if it is missing.
        report: is told once that all cards are taken, and when the wait is over.
        seconds: between two looks.

    Raises:
        InputError: if the folder cannot be used, or is somebody else's.
    """
    waited = False
    try:
        _own(folder)
        while (card := _free(names, folder)) is None:
            if not waited:
                report(_taken(names, folder))
            waited = True
            time.sleep(seconds)
    except OSError as error:
        raise InputError(
            f"{folder}: no lock of a GPU can be kept here ({error.strerror}); set TMPDIR to a "
            "folder that can be written, or CUDA_VISIBLE_DEVICES to the one GPU to use"
        ) from None
    if waited:
        report(f"GPU {card.index} is free: going on with it")
    return card


def _own(folder: Path) -> None:
    """Make the folder; it lies where others can make one of this name first."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise InputError(
            f"{folder}: made by somebody else, so that no lock of a GPU is kept there; remove it, "
            "or set TMPDIR to a folder of your own"
        )


def _free(names: Sequence[str], folder: Path) -> Card | None:
    for index, name in enumerate(names):
        lock = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, mode=0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        os.truncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        return Card(index, lock)
    return None


def _taken(names: Sequence[str], folder: Path) -> str:
    """Who has the cards, as they themselves wrote it."""
    holders = [(folder / f"{name}.lock").read_text(encoding="utf-8") for name in names]
    return (
        f"all {len(names)} GPUs are taken by processes {', '.join(holders)}: waiting for one; a "
        "workflow starts no more at once than 'resources: gpu' of its profile says"
    )
