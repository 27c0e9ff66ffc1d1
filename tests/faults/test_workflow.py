"""Two of Snakemake in one folder, and a clock that goes backwards."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hepml.configfile import load
from hepml.records import digest

pytestmark = pytest.mark.slow
COLUMNS = "results/tiny/data/s"
NTUPLE = "results/tiny/ntuples/s_0.root"


@pytest.fixture(name="config")
def _config(workflow, tiny):
    path = workflow.folder / "tiny.yaml"
    path.write_text(tiny)
    return path


@pytest.fixture(name="undisturbed", scope="module")
def _undisturbed(tmp_path_factory, tiny, steps_of):
    """Digest of the columns that the commands make without Snakemake."""
    folder = tmp_path_factory.mktemp("undisturbed")
    (folder / "config.yaml").write_text(tiny)
    steps = steps_of(load(folder / "config.yaml"))
    for name in ("simulate s", "data s"):
        code, said = steps[name].run(cwd=folder)
        assert code == 0, said
    return digest(folder / COLUMNS)


def test_a_second_snakemake_refuses_and_the_first_ends_undisturbed(workflow, config, undisturbed):
    """The first one holds still while the second one tries."""
    command = [sys.executable, "-m", "snakemake", "--cores", "2", COLUMNS]
    first = subprocess.Popen(
        [*command, "--configfile", str(config)],
        cwd=workflow.folder,
        env=workflow.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    locks = workflow.folder / ".snakemake/locks"
    until = time.monotonic() + 120
    while not list(locks.glob("*")) and time.monotonic() < until:
        time.sleep(0.01)
    first.send_signal(signal.SIGSTOP)
    try:
        said = workflow.run(COLUMNS, "--configfile", config, check=False)
    finally:
        first.send_signal(signal.SIGCONT)
    assert "Directory cannot be locked" in said
    assert "no other Snakemake process is trying to create the same files" in said
    assert first.wait(timeout=300) == 0
    assert digest(workflow.folder / COLUMNS) == undisturbed
    # which has taken its lock away
    assert "Nothing to be done" in workflow.run(COLUMNS, "--configfile", config)


def test_a_clock_that_goes_backwards_is_a_message_and_is_mended(workflow, config, undisturbed):
    """What is there seems to be of tomorrow: its time is later than that of the result."""
    workflow.run(NTUPLE, "--configfile", config)
    ntuple = workflow.folder / NTUPLE
    tomorrow = time.time() + 86_400
    os.utime(ntuple, (tomorrow, tomorrow))
    columns = workflow.folder / COLUMNS
    said = workflow.run(COLUMNS, "--forcerun", "data", "--configfile", config, check=False)
    assert "has older modification time" in said
    assert f"than input {NTUPLE}" in said
    assert "clock skew" in said
    assert not columns.exists()
    os.utime(ntuple)
    workflow.run(COLUMNS, "--configfile", config)
    assert digest(columns) == undisturbed
    assert "Nothing to be done" in workflow.run(COLUMNS, "--configfile", config)
