"""README.md in one minute: its commands run, its figures are those of docs/whole_runs.md, its links
and pictures are there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
LONGEST = 90
PLANNER = [sys.executable, "-c", "import sys; from planner.cli.main import main; sys.exit(main())"]


def blocks(kind):
    return re.findall(rf"^```{kind}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_it_is_read_in_a_minute():
    assert len(README.splitlines()) <= LONGEST


def test_its_links_and_pictures_are_there():
    links = re.findall(r"\]\(([^)#]+)", README)
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_figures_are_those_of_the_whole_runs():
    text = (ROOT / "docs" / "whole_runs.md").read_text(encoding="utf-8")
    for what in ("hours", "dollars", "memory"):
        row = re.search(rf"^\| {what}, now \| (.*) \|$", text, re.MULTILINE)
        cells = [cell.strip().replace("%", " %") for cell in row.group(1).split("|")]
        wanted = " | ".join(cell.replace("-", "−") for cell in cells)
        assert f"| {what} | {wanted} |" in README
    described = re.search(r"^Runs: (\d+) of .*, (\d+) asked", text, re.MULTILINE)
    assert f"On {described.group(2)} whole runs" in README
    assert f"(of {described.group(1)};" in README


def test_make_has_its_targets():
    made = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert {"plan", "test", "docs"} <= named
    assert [name for name in named if not re.search(rf"^{name}:", made, re.MULTILINE)] == []


@pytest.fixture
def home(tmp_path):
    shutil.copy(ROOT / "profiles/examples/support_tickets.jsonl", tmp_path / "tickets.jsonl")
    return tmp_path


def test_its_program_runs(home):
    (program,) = blocks("python")
    printed = f"{program}\nprint(answer.best.strategy)\n"
    done = subprocess.run(
        [sys.executable, "-c", printed], cwd=home, env=environment(), capture_output=True, text=True
    )
    assert done.stdout == "lora\n", done.stderr


@pytest.mark.parametrize("name", ["choose", "report"])
def test_its_commands_run(home, name):
    (command,) = [block for block in blocks("") if block.startswith(f"planner {name} ")]
    done = subprocess.run(
        [*PLANNER, *command.split()[1:]],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "lora" in done.stdout or (home / "budget.html").stat().st_size > 1000


def environment():
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}
