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


def gelu():
    """Of -1 and 2, by a kernel."""
    z = torch.tensor([[-1.0] * 8, [2.0] * 8])
    value = torch.empty_like(z)
    kernels.row_gelu(z, torch.ones(8), torch.zeros(8), value)
    return value[:, 0]


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


@pytest.fixture
def one_source(afresh, monkeypatch):  # noqa: ARG001
    """Compile one file only, that of :func:`gelu`."""
    (source,) = (path for path in compiled._SOURCES if path.name == "rows.cpp")
    monkeypatch.setattr(compiled, "_SOURCES", [source])


EXACT = torch.tensor([-0.15865525, 1.9544997])  # x times the normal distribution up to x


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """Let $CXX be a shell script."""

    def write(*lines):
        path = tmp_path / "compiler"
        path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
        path.chmod(0o755)
        monkeypatch.setenv("CXX", str(path))
        return path

    return write


@pytest.mark.usefixtures("one_source")
def test_compiled_once_and_kept(afresh):
    torch.testing.assert_close(gelu(), EXACT)
    (kept,) = afresh.iterdir()
    made = kept.stat().st_mtime_ns
    compiled.kernels.cache_clear()
    torch.testing.assert_close(gelu(), EXACT)
    assert kernels.description().startswith("compiled by")
    assert [path.stat().st_mtime_ns for path in afresh.iterdir()] == [made]


def test_processes_that_compile_at_the_same_time(tmp_path):
    program = (
        "from hepml.kernels import compiled; del compiled._SOURCES[1:]; "
        "assert compiled.kernels().code"
    )
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


@pytest.mark.usefixtures("one_source")
def test_a_compiler_with_arguments(afresh, monkeypatch):
    monkeypatch.setenv("CXX", "c++ -DNDEBUG")
    torch.testing.assert_close(gelu(), EXACT)
    assert kernels.description().startswith("compiled by")
    assert len(list(afresh.iterdir())) == 1


@pytest.mark.usefixtures("one_source")
def test_a_user_without_a_home(afresh, monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(compiled.Path, "home", home)
    torch.testing.assert_close(gelu(), EXACT)
    assert kernels.description().startswith("compiled by")
    assert not afresh.exists()


def test_a_compiler_that_fails_leaves_nothing_behind(afresh, compiler):
    path = compiler('[ "$1" = --version ] && exec echo broken 1', "echo no >&2; exit 1")
    assert kernels.description() == f"none, {path} fails: no"
    assert list(afresh.iterdir()) == []


@pytest.mark.usefixtures("one_source")
def test_a_compiler_without_openmp(afresh, compiler):
    """As Apple's: one thread."""
    compiler('case "$*" in *-fopenmp*) exit 1;; esac', 'exec c++ "$@"')
    torch.testing.assert_close(gelu(), EXACT)
    assert kernels.description().startswith("compiled by")
    assert len(list(afresh.iterdir())) == 1


def test_a_library_that_cannot_be_loaded(afresh, usual, compiler):
    """Compiled for another machine, say, or against a newer C library."""
    path = compiler(
        '[ "$1" = --version ] && exec echo other 1',
        'while [ "$1" != -o ]; do shift; done',
        'echo nothing > "$2"',
    )
    assert logit() == pytest.approx(usual, abs=1e-5)
    assert kernels.description().startswith(f"none, {path} fails: ")
    assert len(list(afresh.iterdir())) == 1


def test_a_compiler_that_makes_nothing(afresh, usual, compiler):
    path = compiler("exit 0")
    assert logit() == pytest.approx(usual, abs=1e-5)
    assert kernels.description().startswith(f"none, {path} fails: ")
    assert list(afresh.iterdir()) == []


@pytest.mark.usefixtures("one_source")
def test_a_cache_that_cannot_be_written(afresh):
    afresh.write_text("a file where the folder should be")
    torch.testing.assert_close(gelu(), EXACT)
    assert kernels.description().startswith("compiled by")
