"""Help in groups, examples that can be called, and what a shell completes."""

import os
import shlex
import subprocess
import sys

import click
import pytest

from planner.cli import completing, main
from planner.cli.help import EXAMPLES, FIRST_TITLE, OWN_TITLE, grouped
from planner.cli.main import COMMANDS, cli, run
from planner.question import Question
from planner.question.groups import FIRST, GROUPS, group_of


def command_of(name):
    context = click.Context(cli, info_name="planner")
    return cli.get_command(context, name), context


def test_every_field_of_a_question_stands_in_one_group():
    names = [*FIRST, *(name for group in GROUPS.values() for name in group)]
    assert len(names) == len(set(names))
    assert not set(Question.model_fields) - set(names), "planner/question/groups.py lacks them"
    assert group_of("gpu") is None and group_of("lora_rank") == "Adapters"
    with pytest.raises(KeyError):
        group_of("lora_ranks")


def test_ten_come_first_and_nothing_is_left_out():
    command, context = command_of("estimate")
    groups = grouped(command, context)
    assert next(iter(groups)) == FIRST_TITLE and list(groups)[-1] == OWN_TITLE
    assert [option.name for option in groups[FIRST_TITLE]] == list(FIRST) and len(FIRST) == 10
    shown = [option.name for options in groups.values() for option in options]
    own = [each.name for each in command.get_params(context) if isinstance(each, click.Option)]
    assert sorted(shown) == sorted(own)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_help_keeps_the_width(width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    assert run(["estimate", "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= width and "What matters first:" in lines
    assert [title for title in GROUPS if f"{title}:" not in lines] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_examples_that_can_be_called(name, capsys):
    assert EXAMPLES[name]
    for example in EXAMPLES[name]:
        called, *arguments = shlex.split(example.partition(" >")[0])
        assert called == name
        command, context = command_of(name)
        with command.make_context(name, arguments, parent=context):
            pass
    assert run([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert "Examples:" in out and f"planner {EXAMPLES[name][0].split()[0]}" in out


def completed(line):
    words = line.split(" ")
    done = subprocess.run(
        [sys.executable, "-m", "planner.cli.main"],
        env={
            **os.environ,
            "_PLANNER_COMPLETE": "bash_complete",
            "COMP_WORDS": f"planner {line}",
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
    )
    return [found.partition(",")[2] for found in done.stdout.split()]


@pytest.mark.parametrize(
    "line, wanted",
    [
        ("est", "estimate"),
        ("estimate Llama-3.2", "Llama-3.2-1B"),
        ("estimate gpt2 --gpu h100", "h100-sxm"),
        ("estimate gpt2 --strategy lo", "lora"),
        ("choose gpt2 --provider run", "runpod"),
        ("prices --gpu l4", "l4"),
        ("completion z", "zsh"),
    ],
)
def test_names_are_completed(line, wanted):
    assert wanted in completed(line)


def test_what_is_completed_is_known():
    for parameter in completing.NAMES:
        assert len(set(completing.names_of(parameter))) == len(completing.names_of(parameter)) > 3
    assert "lora" in completing.names_of("strategy") and completing.names_of("samples") == []


@pytest.mark.parametrize("shell, sign", [("zsh", "compdef"), ("fish", "complete")])
def test_the_script_of_a_shell(shell, sign, capsys):
    assert run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert sign in out and "_PLANNER_COMPLETE" in out


def test_listing_commands_imports_none(monkeypatch, capsys):
    monkeypatch.setattr(main.importlib, "import_module", lambda name: pytest.fail(name))
    assert run(["--help"]) == 0 and "completion" in capsys.readouterr().out
