import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hepml import provenance
from hepml.provenance import code_digest
from hepml.records import provenance as record

BASE = {
    "__init__.py": "",
    "top.py": '"""Doc."""\nfrom fakepackage.middle import f\n\n\n'
    'def g():\n    """Doc."""\n    return f()\n',
    "middle.py": "def f():\n    from fakepackage import deep\n    return deep.X\n",
    "deep.py": "X = 1\n",
    "other.py": "Y = 1\n",
}


@pytest.fixture(name="digest")
def _digest(tmp_path, monkeypatch):
    """Digest of fakepackage.top with some of its files changed."""
    folder = tmp_path / "fakepackage"
    folder.mkdir()
    monkeypatch.setattr(provenance, "PACKAGE", "fakepackage")
    monkeypatch.setattr(provenance, "__file__", str(folder / "provenance.py"))
    cached = (code_digest, provenance._direct_imports, provenance._source, provenance._meaning)

    def digest(others=None, **changes):
        changed = {f"{k}.py": v for k, v in changes.items()} | (others or {})
        for name, text in (BASE | changed).items():
            (folder / name).write_text(text)
        for function in cached:
            function.cache_clear()
        return code_digest("fakepackage.top")

    yield digest
    for function in cached:
        function.cache_clear()


def test_the_same_code_has_the_same_digest(digest):
    assert digest() == digest()
    assert len(digest()) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"deep": "# a comment\nX = 1\n"},
        {"deep": '"""A docstring."""\n\n\nX = (1)\n'},
        {"top": BASE["top.py"].replace("Doc.", "Other words.")},
        {"other": "Y = 2\n"},
    ],
    ids=["comment", "layout", "docstring", "a module that is not imported"],
)
def test_what_cannot_change_a_result_does_not_count(digest, change):
    assert digest(**change) == digest()


def test_kernels_of_an_imported_package_count(digest):
    found = {digest(top="import fakepackage\n", others={"kernel.cpp": text}) for text in ("1", "2")}
    assert len(found) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"deep": "X = 2\n"},
        {"middle": BASE["middle.py"].replace("deep.X", "deep.X + 1")},
        {"top": BASE["top.py"] + "\n\nZ = 1\n"},
    ],
    ids=["imported by an imported module, inside a function", "imported", "itself"],
)
def test_code_that_is_imported_counts(digest, change):
    assert digest(**change) != digest()


def test_an_unknown_module_is_refused(digest):
    digest()
    with pytest.raises(ValueError, match=r"there is no module fakepackage\.nowhere"):
        code_digest("fakepackage.nowhere")


def test_the_record_names_the_inputs_by_checksum(tmp_path):
    (tmp_path / "a.root").write_bytes(b"abc")
    content = record([], [tmp_path / "a.root"], {"seed": 1})
    (entry,) = content["inputs"]
    assert entry["bytes"] == 3
    assert entry["sha256"].startswith("ba7816bf")
    assert content["settings"] == {"seed": 1}
    assert content["software"]["packages"]["numpy"]


def test_a_foreign_repository_is_not_our_commit(tmp_path):
    """The package lies in somebody else's repository, as in a virtual environment of theirs."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copytree(Path(provenance.__file__).parent, tmp_path / "lib/hepml")
    code = "from hepml.provenance import software; print(software()['commit'])"
    printed = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "lib")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == "None"


def test_without_git_the_commit_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    software = provenance.software()
    assert (software["commit"], software["uncommitted_changes"]) == (None, None)
