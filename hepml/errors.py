"""The one exception for what a user can mend, and disks that fail."""

import errno
import os
from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Something the user gave is wrong; the message names it and the mend.

    The command line prints the message alone, without a traceback; every other exception is a bug
    of ours and keeps its traceback.
    """


class InterruptedTrainingError(Exception):
    """A signal ended a training, which goes on from its checkpoint when it is called again.

    The command line prints the message and ends with exit code 75, "try again later" in sysexits.h.
    """


_MEND = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room, or have your quota raised",
    errno.EACCES: "make the folder writable, or work in another one",
    errno.EPERM: "make the folder writable, or work in another one",
    errno.EROFS: "work in a folder that is writable",
    errno.EIO: "look at the disk, or at the server that it belongs to",
    errno.ESTALE: "look at the server that the folder belongs to",
    errno.ENOTDIR: "move the file that stands where a folder is wanted",
    errno.EEXIST: "move the file that stands where a folder is wanted",
}


def storage_trouble(error: BaseException) -> str | None:
    """One line on a disk that is full, broken or not to be written to; None for other errors.

    Libraries that write files wrap the system's error, or have its text alone.
    """
    known: BaseException | None = error
    while known is not None:
        for code, mend in _MEND.items():
            text = os.strerror(code)
            if getattr(known, "errno", None) == code or text in str(known):
                where = getattr(known, "filename", None)
                return (
                    f"{f'{where}: ' if where else ''}{text}; nothing unfinished was left under its "
                    f"final name: {mend} and run again"
                )
        known = known.__cause__ or known.__context__
    return None


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which of the names that exist come nearest to one that does not.

    Args:
        name: what was asked for.
        known: what there is.

    Returns:
        A half-sentence to append to an error message, for instance ``"nearest: jet_pt, jet_eta"``.
    """
    names = sorted(set(known))
    if not names:
        return "there are none"
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return "nearest: " + ", ".join(close)
    shown = ", ".join(names[:12])
    return f"there are: {shown}" + (f" and {len(names) - 12} more" if len(names) > 12 else "")
