"""The compiled kernels: found, or compiled by the machine's own compiler and kept in a cache."""

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from hepml.artifacts import new_file

LANES = 8  # widths are multiples of it
SWITCH = "HEPML_KERNELS"  # "off": PyTorch's own operations

_SOURCES = sorted(Path(__file__).parent.glob("*.cpp"))
_HEADERS = sorted(Path(__file__).parent.glob("*.h"))
# not -ffast-math: it would let the whole process round small numbers to zero, and lose NaN
_FLAGS = [
    *("-std=c++17", "-O3", "-march=native", "-fPIC"),
    *("-fno-math-errno", "-fno-trapping-math", "-fno-signed-zeros", "-fassociative-math"),
    *("-freciprocal-math", "-ffp-contract=fast"),
]
_COMPILERS = ("c++", "g++", "clang++")
_disabled = 0


@dataclass(frozen=True)
class Kernels:
    """The library, or why there is none.

    Attributes:
        code: the library; None if there is none.
        description: by which compiler, or the reason.
    """

    code: ctypes.CDLL | None
    description: str


def fit_for(*tensors: Tensor) -> bool:
    """Whether kernels take these: single precision on a CPU; not while a graph is captured."""
    return (
        all(x.is_cpu and x.dtype == torch.float32 for x in tensors)
        and not _disabled
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and kernels().code is not None
    )


def fit_for_rows(*tensors: Tensor) -> bool:
    """The same for kernels that go row by row: tables whose width is a multiple of eight."""
    return all(x.dim() == 2 and x.shape[1] % LANES == 0 for x in tensors) and fit_for(*tensors)


def description() -> str:
    """What the kernels were compiled with, or why there are none."""
    return kernels().description


@contextmanager
def without_kernels() -> Iterator[None]:
    """Let PyTorch's own operations do everything, where they are counted or compared."""
    global _disabled
    _disabled += 1
    try:
        yield
    finally:
        _disabled -= 1


@lru_cache
def kernels() -> Kernels:
    """Find or compile the kernels, once per process."""
    if os.environ.get(SWITCH, "").lower() in {"off", "0", "no"}:
        return Kernels(None, f"none, {SWITCH} says so")
    compiler = _compiler()
    if compiler is None:
        named = os.environ.get("CXX")
        wanted = f"{named} ($CXX)" if named else f"C++ compiler ({', '.join(_COMPILERS)})"
        return Kernels(None, f"none, there is no {wanted}")
    try:
        version = next(iter(_run([*compiler, "--version"]).splitlines()), compiler[0])
        library = ctypes.CDLL(str(_cached(compiler, version)))
    except (OSError, subprocess.SubprocessError) as error:
        return Kernels(None, f"none, {shlex.join(compiler)} fails: {_message(error)}")
    return Kernels(library, f"compiled by {version}")


def _compiler() -> list[str] | None:
    """The command, with arguments if $CXX has some."""
    named = shlex.split(os.environ.get("CXX", ""))
    for name, *arguments in [named] if named else [[name] for name in _COMPILERS]:
        path = shutil.which(name)
        if path:
            return [path, *arguments]
    return None


def _cached(compiler: list[str], version: str) -> Path:
    """The library for this compiler and processor; what is not there is compiled."""
    parts = [*(p.read_text() for p in (*_HEADERS, *_SOURCES)), *compiler, version, *_FLAGS,
             _processor()]  # fmt: skip
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    path = _folder() / f"kernels-{key[:16]}.so"
    if not path.exists():
        with new_file(path) as made:
            _compile(compiler, made)
    return path


def _compile(compiler: list[str], output: Path) -> None:
    """With OpenMP, or where the compiler has none for one thread."""
    command = [*compiler, *_FLAGS]
    try:
        _build([*command, "-fopenmp"], output)
    except subprocess.CalledProcessError:
        _build(command, output)


def _build(command: list[str], output: Path) -> None:
    """Compile all files side by side, and link them."""
    with tempfile.TemporaryDirectory(prefix="hepml-") as folder, ThreadPoolExecutor() as pool:
        objects = [str(Path(folder) / f"{source.stem}.o") for source in _SOURCES]
        list(pool.map(lambda s, o: _run([*command, "-c", "-o", o, str(s)]), _SOURCES, objects))
        _run([*command, "-shared", "-o", str(output), *objects])


def _folder() -> Path:
    """The user's cache, or where that cannot be written a folder of this process alone."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hepml"
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=root):
            return root
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return Path(_own_folder().name)


@lru_cache  # which keeps it until the process ends
def _own_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hepml-")


def _processor() -> str:
    """What tells machines apart that cannot run the same library: a cluster shares the cache."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    known = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return "\n".join([platform.machine(), *platform.libc_ver(), *sorted(set(known))])


def _run(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout


def _message(error: Exception) -> str:
    lines = [*str(getattr(error, "stderr", None) or "").splitlines(), str(error)]
    return next(line.strip() for line in lines if line.strip())
