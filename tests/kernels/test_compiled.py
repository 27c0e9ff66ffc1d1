"""Kernels are compiled once; where that fails, it is said and PyTorch computes."""

import os
import subprocess
import sys

import pytest
import torch

from hepml import kernels
from hepml.kernels import compiled
from hepml.models.particle_transformer import SMALL, ParticleTransformer


def logit():
    """Of a jet of two particles."""
    torch.manual_seed(0)
    network = ParticleTransformer(3, SMALL).eval()
    momenta = torch.tensor([[3.0, 4.0, 0.0, 5.0], [1.0, 2.0, 2.0, 3.0]])
    with torch.no_grad():
        return network(torch.ones(2, 3), momenta, torch.tensor([2])).item()


@pytest.fixture
def usual():
    """The logit with kernels as they are found."""
    return logit()


@pytest.fixture
def afresh(usual, monkeypatch, tmp_path):  # noqa: ARG001
    """Look for kernels again, in an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    compiled.kernels.cache_clear()
    yield tmp_path / "hepml"
    compiled.kernels.cache_clear()


def test_compiled_once_and_kept(afresh, usual):
    assert logit() == usual
    (kept,) = afresh.iterdir()
    made = kept.stat().st_mtime_ns
    compiled.kernels.cache_clear()
    assert logit() == usual
    assert kernels.description().startswith("compiled by")
    assert [path.stat().st_mtime_ns for path in afresh.iterdir()] == [made]


def test_processes_that_compile_at_the_same_time(tmp_path):
    program = "from hepml.kernels.compiled import kernels; assert kernels().code"
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    started = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in "ab"]
    assert [process.wait() for process in started] == [0, 0]
    assert len(list((tmp_path / "hepml").iterdir())) == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("HEPML_KERNELS", "off", "none, HEPML_KERNELS says so"),
        ("CXX", "no-such-compiler", "none, there is no no-such-compiler ($CXX)"),
        ("PATH", "/nowhere", "none, there is no C++ compiler (c++, g++, clang++)"),
        ("CXX", "false", "/false fails: "),
    ],
)
def test_without_kernels_torch_computes(afresh, usual, monkeypatch, name, value, said):
    monkeypatch.setenv(name, value)
    assert logit() == pytest.approx(usual, abs=1e-5)
    assert not kernels.fit_for(torch.ones(2))
    assert said in kernels.description()
    assert not afresh.exists() or not list(afresh.iterdir())


def test_a_compiler_with_arguments(afresh, usual, monkeypatch):
    monkeypatch.setenv("CXX", "c++ -DNDEBUG")
    assert logit() == usual
    assert kernels.description().startswith("compiled by")
    assert len(list(afresh.iterdir())) == 1


def test_a_user_without_a_home(afresh, usual, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(compiled.Path, "home", home)
    assert logit() == usual
    assert kernels.description().startswith("compiled by")
    assert not afresh.exists()


def test_a_compiler_that_fails_leaves_nothing_behind(afresh, monkeypatch, tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && exec echo broken 1\necho no >&2; exit 1'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert kernels.description() == f"none, {compiler} fails: no"
    assert list(afresh.iterdir()) == []


def test_a_compiler_without_openmp(afresh, usual, monkeypatch, tmp_path):
    """As Apple's: one thread, the same numbers up to rounding."""
    compiler = tmp_path / "compiler"
    compiler.write_text('#!/bin/sh\ncase "$*" in *-fopenmp*) exit 1;; esac\nexec c++ "$@"\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert logit() == pytest.approx(usual, abs=1e-6)
    assert kernels.description().startswith("compiled by")
    assert len(list(afresh.iterdir())) == 1


def test_a_library_that_cannot_be_loaded(afresh, usual, monkeypatch, tmp_path):
    """Compiled for another machine, say, or against a newer C library."""
    compiler = tmp_path / "compiler"
    compiler.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && exec echo other 1\n'
        'while [ "$1" != -o ]; do shift; done\n'
        'echo nothing > "$2"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    assert logit() == pytest.approx(usual, abs=1e-5)
    assert kernels.description().startswith(f"none, {compiler} fails: ")
    assert len(list(afresh.iterdir())) == 1


def test_a_cache_that_cannot_be_written(afresh, usual):
    afresh.write_text("a file where the folder should be")
    assert logit() == usual
    assert kernels.description().startswith("compiled by")
