"""Commands in the documentation: what is run, what it must end with, and that even those that are
not run name commands and flags that are there."""

import re
import shlex
from pathlib import Path

import click
import pytest
from blocks import BLOCK, Block, Page

from planner.cli.main import COMMANDS, cli

ROOT = Path(__file__).parent.parent.parent
PAGES = [
    ROOT / "README.md",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.md")
        if page.parent.name in ("docs", "tutorials", "how_to")
    ),
]
#: Flags of the program itself, before or after a command.
EVERYWHERE = {"--json", "--quiet", "-q", "--debug", "--help", "-h", "--version"}


def page(*lines):
    return Page("\n".join(lines) + "\n", "page.md")


def test_a_block_is_shown_with_what_it_prints():
    shown = page("Before", "```console run lines=2", "$ echo a; echo b; echo c", "```", "after")
    text = "Before\n```console\n$ echo a; echo b; echo c\n```\n\n```text\na\nb\n…\n```\nafter\n"
    assert shown.shown(run=True) == text
    assert shown.shown(run=False) == "Before\n```console\n$ echo a; echo b; echo c\n```\nafter\n"


def test_commands_of_a_page_share_a_folder_with_the_shipped_data():
    lines = ["```console run", "$ cat > a.txt <<'END'", "kept", "END", "$ ls profiles/examples"]
    shown = page(*lines, "```", "", "```python run", "print(open('a.txt').read())", "```")
    assert "support_tickets.jsonl" in shown.shown(run=True)
    assert "```text\nkept\n```" in shown.shown(run=True)


@pytest.mark.parametrize(
    "block, said",
    [
        (["```console run", "$ false", "```"], "exit code 1, not 0"),
        (["```console run exit=1", "$ true", "```"], "exit code 0, not 1"),
        (["```console run exit=1", "$ false", "$ false", "```"], "exit code 1, not 0"),
        (["```console run", "$ planner estimate gpt2", "```"], "exit code 2, not 0: planner: no"),
        (["```python run", "raise SystemExit(3)", "```"], "exit code 3"),
        (["```console run line=3", "$ true", "```"], "'line=3' is no setting"),
    ],
)
def test_what_ends_otherwise_stops_the_build(block, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        page(*block).shown(run=True)


def test_a_page_is_offline_and_sees_nothing_of_the_user(monkeypatch):
    monkeypatch.setenv("PLANNER_DEVICES", "/somewhere")
    shown = page("```console run", "$ echo $PLANNER_DEVICES $HF_HUB_OFFLINE $PLANNER_TODAY", "```")
    text = shown.shown(run=True)
    assert "/somewhere" not in text and re.search(r"\.devices 1 \d{4}-\d\d-\d\d", text)


def commands_of(text):
    """Lines that call ``planner``, with or without a prompt, of all fenced blocks."""
    for block in re.findall(r"^```(?:console)?[^\n]*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if re.match(r"(\$ )?planner ", line):
                yield line.removeprefix("$ ")


@pytest.mark.parametrize("file", PAGES, ids=lambda page: page.stem)
def test_every_command_that_is_shown_is_there(file):
    for line in commands_of(file.read_text(encoding="utf-8")):
        words = [w for w in shlex.split(line, comments=True) if w != "…"][1:]
        if words[0] not in COMMANDS:
            assert words[0] in EVERYWHERE, line
            continue
        context = click.Context(cli)
        command = cli.get_command(context, words[0])
        group = isinstance(command, click.Group) and len(words) > 1
        inner = words[1] if group and not words[1].startswith("-") else None
        chosen = command.get_command(context, inner) if inner else command
        assert chosen is not None, line
        known = {
            name for p in (*chosen.params, *command.params) for name in (*p.opts, *p.secondary_opts)
        }
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in known | EVERYWHERE, f"{word}: {line}"


def test_the_tutorials_are_run():
    for name in ("before_a_project", "budget_report", "validate"):
        text = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text(encoding="utf-8")
        assert len([Block.of(match) for match in BLOCK.finditer(text)]) >= 2, name
