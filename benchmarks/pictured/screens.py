"""What commands print, as a terminal of 80 columns shows it."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

from benchmarks.pictured import ROOT, TODAY, Picture
from planner.errors import MachineError

COLUMNS = 80
#: A project of a size that people have.
COUNTS = ("--samples", "20k", "--tokens-per-sample", "400")
TICKETS = "profiles/examples/support_tickets.jsonl"
#: Fonts of every system: the picture asks the network for none.
FONTS = "ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace"


def printed(*arguments: str) -> str:
    """What ``planner`` prints in colour at 80 columns, from this checkout, untouched by what the
    user has measured or set. Raises MachineError where it fails."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PLANNER_", "NO_COLOR"))}
    nowhere = {
        f"PLANNER_{name}": str(ROOT / ".no-such-folder" / name.lower())
        for name in ("DEVICES", "PRICES", "LEDGER")
    }
    settings = {
        "COLUMNS": str(COLUMNS),
        "FORCE_COLOR": "1",
        "TERM": "xterm-256color",
        "PLANNER_TODAY": TODAY,
        "PLANNER_PROGRESS": "never",
        "PYTHONPATH": str(ROOT),
    }
    code = "import sys; from planner.cli.main import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**kept, **nowhere, **settings},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise MachineError(f"planner {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def screen(folder: Path, *, file: str, arguments: tuple[str, ...]) -> None:
    """``$ planner …`` and what it prints, as SVG."""
    from rich.console import Console
    from rich.text import Text

    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False
    )
    console.print(Text(_typed(arguments), style="bold"))
    console.print(Text.from_ansi(printed(*arguments).rstrip("\n")), soft_wrap=True)
    svg = console.export_svg(title="planner", unique_id=Path(file).stem)
    (folder / file).write_text(without_requests(svg), encoding="utf-8")


def _typed(arguments: tuple[str, ...]) -> str:
    """The command as it is typed, broken before a flag."""
    words: list[str] = []
    for word in arguments:
        if words and words[-1].startswith("--") and " " not in words[-1] and word[:2] != "--":
            words[-1] += f" {word}"
        else:
            words.append(word)
    lines, line = [], "$ planner"
    for word in words:
        if len(line) + len(word) + 3 > COLUMNS:
            lines.append(line + " \\")
            line = "   "
        line += f" {word}"
    return "\n".join([*lines, line])


def without_requests(svg: str) -> str:
    """The fonts that rich fetches from elsewhere give way to those of the system."""
    svg = re.sub(r"@font-face\s*{.*?}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: ?(Fira Code|arial)[^;]*;", f"font-family: {FONTS};", svg)


def _screen(file: str, what: str, *arguments: str) -> Picture:
    return Picture(file, what, partial(screen, file=file, arguments=arguments))


PICTURES = (
    _screen(
        "first_screen.svg",
        "the first screen of planner estimate",
        *("estimate", "Llama-3.1-8B", *COUNTS, "--gpu", "rtx-4090", "--max-usd", "20"),
    ),
    _screen(
        "choose.svg",
        "the first screen of planner choose",
        *("choose", "Llama-3.1-8B", *COUNTS, "--max-usd", "20"),
    ),
)
