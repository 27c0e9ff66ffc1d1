from pathlib import Path

import pytest

from hepml.config import DataJob, Sample
from hepml.configfile import from_workflow, load, parse
from hepml.errors import InputError
from hepml.files import matching_files
from hepml.jobs import all_settings, data_job, data_settings
from hepml.plaintext import read_samples, read_yaml


@pytest.fixture(name="written")
def _written(tmp_path):
    """Write a text to a file."""

    def write(text, name="a.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_a_key_given_twice_is_an_error_with_its_lines(written):
    with pytest.raises(InputError) as caught:
        read_yaml(written("a: 1\nb: {c: 1, c: 2}\na: 3\n"))
    first, second = str(caught.value).splitlines()
    assert first.endswith("a.yaml: key 'a' stands twice, in lines 1 and 3; keep one")
    assert second.endswith("a.yaml: key 'c' stands twice, in lines 2 and 2; keep one")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("!!python/object:os.system {}", "could not determine a constructor"),
        ("a: !!python/name:os.system", "could not determine a constructor"),
        ("- 1", "expected keys and values, got a list"),
        ("", "expected keys and values, got nothing"),
        ("on: 1", "line 1: the key on is not text; quote it"),
        ("1: a", "line 1: the key 1 is not text; quote it"),
        ("? [a, b]\n: c", "the key a list or mapping is not text"),
        (b"\xff\xfe\x00a", "cannot be read as text"),
    ],
)
def test_yaml_that_is_refused(written, text, message):
    with pytest.raises(InputError, match=r"a\.yaml") as caught:
        read_yaml(written(text))
    assert message in str(caught.value)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.yaml: no such config file"):
        load(tmp_path / "no.yaml")


def test_anchors_and_merges_work(written):
    content = read_yaml(written("a: &x {u: 1, v: 2}\nb: {<<: *x, v: 3}\n"))
    assert content["b"] == {"u": 1, "v": 3}


def test_aliases_into_themselves_are_refused(written):
    with pytest.raises(InputError, match="not valid YAML: found unconstructable recursive node"):
        load(written("a: &x [*x]\n"))


def test_dates_are_text(written):
    with pytest.raises(InputError) as caught:
        load(written("title: 2026-11-23\n"))
    assert "title" not in str(caught.value)


def test_the_workflow_sees_duplicate_keys_too(written):
    path = written("analysis: a\nanalysis: b\n")
    with pytest.raises(InputError, match="stands twice"):
        from_workflow({"analysis": "b"}, [path])


def test_a_sample_table(written):
    table = "# comment\nname\trole\tfiles\tevents\nt\tsignal\ta.root b.root\t\nq\tbackground\t\t7\n"
    assert read_samples(written(table, "s.tsv")) == {
        "t": {"role": "signal", "files": ["a.root", "b.root"]},
        "q": {"role": "background", "events": 7},
    }


def test_a_sample_table_from_a_spreadsheet(written):
    table = b"\xef\xbb\xbfname\trole\r\nt\tsignal\r\n"
    assert read_samples(written(table, "s.tsv")) == {"t": {"role": "signal"}}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("name\trole\na\tsignal\na\tbackground\n", "two samples are named 'a'; rename one"),
        ("name role\na signal\n", "expected a header with a column 'name'"),
        ("name\trole\n", "expected a header"),
        ("name\trole\tname\na\tb\tc\n", "column 'name' stands twice"),
        ("name\trole\na\tsignal\tmore\n", "sample 'a': the row has not as many cells"),
        ("name\tevents\na\tmany\n", "sample 'a': events: 'many' is not a whole number"),
    ],
)
def test_sample_tables_that_are_refused(written, table, message):
    with pytest.raises(InputError, match=r"s\.tsv") as caught:
        read_samples(written(table, "s.tsv"))
    assert message in str(caught.value)


def test_a_missing_sample_table_is_named(written):
    with pytest.raises(InputError, match=r"no\.tsv: no such sample table"):
        load(written("samples: no.tsv\n"))


def test_patterns_urls_and_order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b2", "b1", "a"):
        (tmp_path / f"{name}.root").touch()
    sample = Sample(role="data", files=("b*.root", "https://x.org/c.root", "a.root"))
    files = ["b1.root", "b2.root", "https://x.org/c.root", "a.root"]
    assert matching_files("x", sample) == files


def test_every_pattern_that_matches_nothing_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        matching_files("x", Sample(role="data", files=("a*.root", "b.root")))
    assert [line.split("'")[1] for line in str(caught.value).splitlines()] == ["a*.root", "b.root"]


@pytest.mark.parametrize("file", sorted((Path(__file__).parents[1] / "config").glob("*.yaml")))
def test_every_config_that_ships_is_valid(file, monkeypatch):
    monkeypatch.chdir(file.parents[1])
    assert load(file).models


def test_settings_on_a_command_line_stay_short_however_many_files_there_are():
    files = [f"/store/user/somebody/a_long_name_of_a_dataset/file_{n}.root" for n in range(5000)]
    shipped = load(Path(__file__).parents[1] / "config/quick.yaml")
    sample = Sample(role="signal", files=tuple(files), cross_section=1.0)
    settings = shipped.model_copy(update={"samples": shipped.samples | {"s": sample}})
    for text in (data_settings(data_job(settings, "s")), all_settings(settings)):
        assert len(text) < 10_000
    job = parse(DataJob, data_settings(data_job(settings, "s")), "--settings")
    assert job.sample.files == (files[0], "and 4999 more")


def test_types_on_the_command_line_are_found_again(written):
    """Snakemake turns what stands inside of --config 'key={...}' into text."""
    file = written("inference: {bins: 4}\ntitle: '7'\nseed: 1\n")
    collected = {"inference": {"bins": "8", "background_uncertainty": "1e-2"}, "title": "7"}
    collected |= {"data": {"particles": "true", "schema": "jetclass"}}
    with pytest.raises(InputError) as caught:
        from_workflow(collected, [file])
    # what is missing is complained about, but no type, and no text that the file gives as text
    assert "required" in str(caught.value)
    assert "should be" not in str(caught.value)
