"""What made a result: digests of code for the rules, versions, commit, checksums of inputs."""

import ast
import hashlib
import importlib.metadata
import platform
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = "hepml"
MISSING = Path()


@cache
def code_digest(module: str) -> str:
    """Digest of a module of hepml and of all modules of hepml it imports.

    Snakemake does not see imported modules; as a parameter of a rule this digest makes exactly
    the rules rerun whose code changed. Comments, docstrings and layout do not count. Only static
    imports are followed, and nothing is imported.

    Args:
        module: for instance ``"hepml.training.stage"``.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name in sorted(_imported(module)):
        source = _source(name)
        digest.update(name.encode())
        digest.update(_meaning(source).encode())
        for other in _other_sources(source):
            digest.update(other.read_bytes())
    return digest.hexdigest()[:16]


def _other_sources(source: Path) -> list[Path]:
    """What belongs to a module and is not Python: its template, the C++ of a package."""
    beside = list(source.parent.glob(f"{source.stem}.*.j2"))
    if source.name == "__init__.py":
        beside += [*source.parent.glob("*.cpp"), *source.parent.glob("*.h")]
    return sorted(beside)


def _imported(module: str) -> set[str]:
    """Return ``module`` and everything inside the package that it imports, directly or not."""
    if _source(module) == MISSING:
        raise ValueError(f"code_digest: there is no module {module}")
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        waiting += _direct_imports(name)
    return found


@cache
def _direct_imports(module: str) -> tuple[str, ...]:
    names: list[str] = []
    for node in ast.walk(ast.parse(_source(module).read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    inside = [name for name in names if name.split(".")[0] == PACKAGE]
    return tuple(name for name in inside if _source(name) != MISSING)


@cache
def _source(module: str) -> Path:
    """File of a module, or MISSING; found by name, because importing it would take seconds."""
    path = Path(__file__).parent.joinpath(*module.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), MISSING)


@cache
def _meaning(path: Path) -> str:
    """Source as a syntax tree without docstrings: what is left can change a result."""
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return ast.dump(tree)


def software() -> dict[str, Any]:
    """Versions of Python and the packages that decide results, and the commit of the code."""
    packages = ["awkward", "iminuit", "numpy", "pyhf", "scipy", "snakemake", "torch", "uproot"]
    return {
        "hepml": importlib.metadata.version("hepml-workflow"),
        **_commit(),
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
        "packages": {name: importlib.metadata.version(name) for name in packages},
    }


def _commit() -> dict[str, str | bool | None]:
    """Commit of the code, and whether it was changed since; None where that is not known."""
    top = _git("rev-parse", "--show-toplevel")
    # a package that was installed inside somebody else's repository has not its commit
    if top is None or Path(top).resolve() != Path(__file__).resolve().parents[1]:
        return {"commit": None, "uncommitted_changes": None}
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return {"commit": _git("rev-parse", "HEAD"), "uncommitted_changes": bool(changes)}


def _git(*arguments: str) -> str | None:
    """Answer of git in the folder of the package, or None outside a repository or without git."""
    folder = Path(__file__).parent
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:  # nodes of a cluster need not have it
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
