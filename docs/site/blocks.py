"""Blocks of a page that are run, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
#: The day that answers in the documentation are as of; moves on with the shipped prices.
TODAY = "2026-11-28"
BLOCK = re.compile(r"^```(console|python) run(.*)\n((?:(?!```).*\n)*)```$", re.MULTILINE)
RUN_PLANNER = "import sys; from planner.cli.main import main; sys.exit(main())"


@dataclass(frozen=True)
class Block:
    """``kind``: console or python. ``lines``: how many lines of what is printed are shown, None
    for all; ``exit``: the code that the last command must end with."""

    kind: str
    text: str
    lines: int | None = None
    exit: int = 0

    @classmethod
    def of(cls, match: re.Match[str]) -> Block:
        """Raises ValueError for a setting that is none."""
        kind, settings, text = match.groups()
        known: dict[str, int] = {}
        for setting in settings.split():
            name, _, value = setting.partition("=")
            if name not in ("lines", "exit") or not value.isdigit():
                raise ValueError(f"{setting!r} is no setting of a block")
            known[name] = int(value)
        return cls(kind, text, known.get("lines"), known.get("exit", 0))

    def commands(self) -> list[str]:
        """The commands of a console block: each from its prompt to the next."""
        _, *found = re.split(r"^\$ ", self.text, flags=re.MULTILINE)
        return [command.rstrip() for command in found]


class Page:
    """A page's text and the folder in which its blocks run, one after another."""

    def __init__(self, markdown: str, name: str):
        self.markdown, self.name = markdown, name

    def blocks(self) -> Iterator[Block]:
        for match in BLOCK.finditer(self.markdown):
            yield Block.of(match)

    def shown(self, *, run: bool) -> str:
        """The page with what its blocks print. Raises ValueError where one ends otherwise than it
        says."""
        with tempfile.TemporaryDirectory(prefix="planner-docs-") as folder:
            home = Path(folder)
            (home / "profiles").symlink_to(ROOT / "profiles")
            return BLOCK.sub(lambda match: _shown(Block.of(match), home, run), self.markdown)


def _shown(block: Block, home: Path, run: bool) -> str:
    code = f"```{block.kind}\n{block.text}```"
    if not run:
        return code
    printed = _console(block, home) if block.kind == "console" else _python(block, home)
    lines = printed.rstrip().splitlines()
    kept = lines if block.lines is None else lines[: block.lines]
    if not kept:
        return code
    more = ["…"] if len(kept) < len(lines) else []
    return "\n".join([code, "", "```text", *kept, *more, "```"])


def _console(block: Block, home: Path) -> str:
    commands, printed = block.commands(), ""
    for command in commands:
        last = command is commands[-1]
        printed += _run(
            ["bash", "-euo", "pipefail", "-c", _planner() + command],
            home,
            block.exit if last else 0,
            command,
        )
    return printed


def _planner() -> str:
    return f'planner() {{ "{sys.executable}" -c "{RUN_PLANNER}" "$@"; }}\n'


def _python(block: Block, home: Path) -> str:
    return _run([sys.executable, "-c", block.text], home, block.exit, "python")


def _run(command: list[str], home: Path, wanted: int, called: str) -> str:
    done = subprocess.run(
        command,
        cwd=home,
        env=_environment(home),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != wanted:
        raise ValueError(f"{called}: exit code {done.returncode}, not {wanted}: {done.stdout}")
    return done.stdout.replace(f"{home}{os.sep}", "")


def _environment(home: Path) -> dict[str, str]:
    """Nothing that the user measured, refreshed or set; offline; at 80 columns."""
    kept = {name: v for name, v in os.environ.items() if not name.startswith("PLANNER_")}
    own = {
        "PLANNER_DEVICES": str(home / ".devices"),
        "PLANNER_PRICES": str(home / ".prices"),
        "PLANNER_LEDGER": str(home / ".runs.sqlite"),
        "PLANNER_TODAY": TODAY,
        "PLANNER_PROGRESS": "never",
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
    }
    return {**kept, **own}
