import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hepml.cli import hepml, main


@pytest.mark.parametrize("command", sorted(hepml.commands))
def test_every_command_explains_itself(command):
    answer = CliRunner().invoke(hepml, [command, "--help"])
    assert answer.exit_code == 0
    assert hepml.commands[command].help.split()[:5] == answer.output.split("\n\n")[1].split()[:5]


def test_commands_stand_in_the_order_of_the_data():
    order = ["simulate", "data", "train", "score", "infer", "compare", "plot"]
    assert [name for name in hepml.commands if name in order] == order


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "no.yaml"], "hepml: no.yaml: no such config file"),
        (["data", "a.root", "--settings", "{}", "--output", "o"], "hepml: --settings: name: this"),
        (["data", "a.root", "--settings", "{", "--output", "o"], "hepml: --settings: Invalid JSON"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_1(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    said = capsys.readouterr()
    assert stop.value.code == 1
    assert said.err.startswith(message)
    assert "Traceback" not in said.err
    assert said.out == ""
    assert not list(tmp_path.iterdir())


def test_every_line_of_a_message_says_who_speaks(capsys):
    with pytest.raises(SystemExit):
        main(["data", "a.root", "--settings", "{}", "--output", "o"])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5
    assert all(line.startswith("hepml: --settings: ") for line in lines)


def test_rules_call_commands_that_exist():
    rules = Path(__file__).parents[1] / "workflow" / "rules"
    called = {
        name
        for file in rules.glob("*.smk")
        for name in re.findall(r'"hepml ([a-z-]+)', file.read_text(encoding="utf-8"))
    }
    assert "toys" in called
    assert called <= hepml.commands.keys()
