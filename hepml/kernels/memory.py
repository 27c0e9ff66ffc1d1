"""What the C library does with memory that is freed."""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # of mallopt(3)
_ROOM = 64 * 2**20


def keep_freed_memory() -> None:
    """Let this process keep freed memory and use it again, instead of giving it back each time.

    Every batch makes tensors of some ten MB. By default the C library returns such memory to the
    operating system and gets it back page by page, which costs some per cent of a training step.
    Only glibc is told, whose default this is; the process then has the size of its largest batch.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_TOP_PAD, _ROOM)
