"""The one exception for what a user can mend."""

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Something the user gave is wrong; the message names it and the mend.

    The command line prints the message alone, without a traceback; every other exception is a bug
    of ours and keeps its traceback.
    """


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
