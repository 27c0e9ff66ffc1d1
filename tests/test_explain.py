import base64
import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from hepml import explain as explain_module
from hepml.cli import hepml
from hepml.configfile import load
from hepml.errors import InputError
from hepml.explain import differing, explain, told
from hepml.jobs import data_job, data_settings, simulation_job

DATA = Path("results/tiny/data/s")
NTUPLE = Path("results/tiny/ntuples/s_0.root")


def run(*arguments):
    answer = CliRunner().invoke(hepml, list(map(str, arguments)), catch_exceptions=False)
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.fixture(name="analysis")
def _analysis(tmp_path, monkeypatch, tiny):
    """A folder in which one ntuple was simulated and read, as the workflow would do it."""
    monkeypatch.chdir(tmp_path)
    Path("config").mkdir()
    Path("config/config.yaml").write_text(tiny)
    analysis = load(Path("config/config.yaml"))
    run("simulate", NTUPLE, "--settings", simulation_job(analysis, "s", 0).model_dump_json())
    settings = data_settings(data_job(analysis, "s"))
    run("data", NTUPLE, "--settings", settings, "--output", DATA)
    return analysis


def changed(text, replacement):
    path = Path("config/config.yaml")
    path.write_text(path.read_text().replace(text, replacement))
    return load(path)


def test_a_fresh_file_is_what_would_be_made_today(analysis):
    account = explain(DATA, analysis)
    assert account.current
    assert account.record["command"] == "data"
    assert account.inputs == {str(NTUPLE): "unchanged"}
    assert [each.record["command"] for each in account.before] == ["simulate"]
    assert account.before[0].record["settings"]["seed"] == simulation_job(analysis, "s", 0).seed
    assert "the same would be made" in "\n".join(told(account, "c"))


def test_the_rule_is_what_snakemake_noted(analysis):
    assert explain(DATA, analysis).rule == ""  # called by hand
    noted = Path(".snakemake/metadata") / base64.b64encode(str(DATA).encode()).decode()
    noted.parent.mkdir(parents=True)
    noted.write_text(json.dumps({"rule": "data"}))
    account = explain(DATA, analysis)
    assert account.rule == "data"
    assert "made by   rule data: hepml data" in "\n".join(told(account, "c"))
    noted.write_text("{")
    assert explain(DATA.resolve(), analysis).rule == ""


def test_digests_are_sha256(analysis):
    account = explain(NTUPLE, analysis)
    assert account.record["sha256"] == hashlib.sha256(NTUPLE.read_bytes()).hexdigest()
    [given] = explain(DATA, analysis).record["inputs"]
    assert given["sha256"] == account.record["sha256"]
    # that of a folder is that of the lines which sha256sum prints for its files
    files = sorted(path for path in DATA.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.relative_to(DATA)}\n" for f in files
    ]
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()
    assert explain(DATA, analysis).record["sha256"] == expected


def test_a_file_in_a_folder_is_explained_by_the_folder(analysis):
    assert explain(DATA / "cutflow.json", analysis).file == DATA


@pytest.mark.usefixtures("analysis")
def test_settings_that_differ_are_named_with_both_values():
    other = changed("luminosity: 1", "luminosity: 2")
    account = explain(DATA, other)
    assert account.settings == (("luminosity", 1.0, 2.0),)
    assert not account.current
    assert "config.yaml: luminosity: 1.0 then, 2.0 now" in "\n".join(told(account, "config.yaml"))
    # which no simulation depends on
    assert explain(NTUPLE, other).current


@pytest.mark.usefixtures("analysis")
def test_what_was_made_before_is_named_where_it_is_out_of_date():
    account = explain(DATA, changed("seed: 5", "seed: 6"))
    assert account.current  # the columns themselves have no seed
    lines = list(told(account, "c"))
    where = lines.index("made of what is out of date itself:")
    assert lines[where + 1] == f"  {NTUPLE}"
    assert lines[where + 2].startswith("    c: seed: ")


@pytest.mark.usefixtures("analysis")
def test_a_sample_that_the_config_has_no_more_is_said_to_be_so():
    account = explain(DATA, changed("  s: {", "  t: {"))
    assert account.settings is None
    assert account.problem == "the present config does not make this file"


def test_changed_and_missing_inputs_are_told_apart(analysis):
    content = NTUPLE.read_bytes()
    NTUPLE.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert explain(DATA, analysis).inputs == {str(NTUPLE): "changed"}
    assert explain(NTUPLE, analysis).altered
    NTUPLE.write_bytes(content)
    assert explain(DATA, analysis).current
    NTUPLE.unlink()
    assert explain(DATA, analysis).inputs == {str(NTUPLE): "gone"}


def test_what_the_batch_system_or_snakemake_leaves_in_a_folder_is_no_change(analysis):
    (DATA / ".snakemake_timestamp").touch()
    assert not explain(DATA, analysis).altered


def test_code_that_changed_is_named(analysis, monkeypatch):
    real = explain_module.source_digest
    monkeypatch.setattr(
        explain_module,
        "source_digest",
        lambda file: "0" * 16 if file.parts[-2:] == ("data", "selection.py") else real(file),
    )
    assert explain(DATA, analysis).code == ("hepml.data.selection",)


def test_there_must_be_a_file_and_a_record(analysis):
    with pytest.raises(InputError, match=r"nothing\.json: no such file"):
        explain(Path("nothing.json"), analysis)
    Path("mine.json").write_text("{}")
    with pytest.raises(InputError, match=r"mine\.json: no record of what made it"):
        explain(Path("mine.json"), analysis)


@pytest.mark.usefixtures("analysis")
def test_the_command_prints_it():
    said = run("explain", DATA)
    assert "hepml data" in said
    assert "unchanged results/tiny/ntuples/s_0.root" in said
    record = json.loads(run("explain", DATA, "--json"))
    assert record["settings"]["name"] == "s"


@pytest.mark.usefixtures("analysis")
def test_without_a_config_no_settings_are_compared():
    Path("config/config.yaml").unlink()
    assert "settings: no config to compare with" in run("explain", DATA)


def test_differing_settings():
    then = {"a": {"b": 1, "c": [1, 2]}, "d": None}
    now = {"a": {"b": 2, "c": [1, 2]}, "e": 3}
    assert list(differing(then, now)) == [("a.b", 1, 2), ("e", None, 3)]
