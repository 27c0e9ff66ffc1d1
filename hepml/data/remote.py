"""Files over the network: what fails is asked for again a few times, then said in one line."""

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

from uproot.source.fsspec import FSSpecSource

from hepml.errors import InputError

PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # s before each further try
_SILENCE = 60.0  # s without a byte after which a connection counts as lost


class PatientSource(FSSpecSource):  # type: ignore[misc]
    """What uproot reads remote files with; each range of bytes is tried ``len(PAUSES) + 1`` times.

    Raises:
        InputError: if the last try fails too.
        FileNotFoundError: at once, if the server says that there is no such file.
    """

    def _open(self) -> None:
        super()._open()
        self._fs: Any = _PatientFiles(self._fs, self._file_path_orig)


def options_of(url: str) -> dict[str, Any]:
    """Options of the connection: servers that stay silent must not hold a job for ever."""
    if not url.startswith(("http://", "https://")):
        return {}
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    return {"client_kwargs": {"timeout": timeout}}


class _PatientFiles:
    """The part of an fsspec file system that uproot reads with, tried again where it fails.

    Args:
        files: file system.
        url: of the file, for messages.
    """

    def __init__(self, files: Any, url: str) -> None:  # noqa: ANN401
        self._files = files
        self._url = url

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        return getattr(self._files, name)

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return int(self._patiently(lambda: self._files.size(path)))

    def cat_file(self, path: str, start: int, end: int) -> bytes:
        """One range of bytes."""
        return bytes(self._patiently(lambda: self._whole(self._files, path, start, end)))

    def cat_ranges(self, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int]) -> Any:  # noqa: ANN401
        """Ranges one after another, of file systems that know no other way."""
        return [self.cat_file(*each) for each in zip(paths, starts, ends, strict=True)]

    async def _cat_ranges(
        self, paths: Sequence[str], starts: Sequence[int], ends: Sequence[int]
    ) -> list[bytes]:
        """Ranges at once; only those that failed are asked for again."""
        found: dict[int, bytes] = {}
        for pause in (*PAUSES, None):
            left = [number for number in range(len(paths)) if number not in found]
            answers = await self._files._cat_ranges(
                [paths[i] for i in left], [starts[i] for i in left], [ends[i] for i in left],
                on_error="return",
            )  # fmt: skip
            failure: Exception | None = None
            for number, answer in zip(left, answers, strict=True):
                wrong = _problem(answer, ends[number] - starts[number])
                if wrong is None:
                    found[number] = answer
                failure = failure or wrong
            if failure is None:
                break
            self._say(failure, pause)
            await asyncio.sleep(pause or 0.0)
        return [found[number] for number in range(len(paths))]

    def _patiently(self, ask: Any) -> Any:  # noqa: ANN401
        for pause in (*PAUSES, None):
            try:
                return ask()
            except Exception as error:  # every library below has its own for a lost connection
                self._say(error, pause)
                time.sleep(pause or 0.0)
        raise AssertionError("the last failure is raised")

    @staticmethod
    def _whole(files: Any, path: str, start: int, end: int) -> bytes:  # noqa: ANN401
        answer = files.cat_file(path, start=start, end=end)
        wrong = _problem(answer, end - start)
        if wrong is not None:
            raise wrong
        return bytes(answer)

    def _say(self, failure: Exception, pause: float | None) -> None:
        """Tell of a failure that will be tried again; raise the last one."""
        if isinstance(failure, FileNotFoundError):
            raise failure
        what = f"{type(failure).__name__}: {failure}".rstrip(": ").splitlines()[0][:200]
        if pause is None:
            tries = len(PAUSES) + 1
            raise InputError(
                f"{self._url}: not to be had over the network, given up after {tries} tries in "
                f"{sum(PAUSES):.0f} s ({what}); run again when the server answers, or copy the "
                "file"
            ) from failure
        sys.stderr.write(f"{self._url}: {what}; trying again in {pause:g} s\n")


def _problem(answer: Any, length: int) -> Exception | None:  # noqa: ANN401
    """Why an answer is not the bytes that were asked for."""
    if isinstance(answer, Exception):
        return answer
    if len(answer) != length:
        return OSError(f"{len(answer)} of {length} bytes came")
    return None
