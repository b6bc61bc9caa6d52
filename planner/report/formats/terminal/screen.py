"""A first screen: laid out for a width, and cut to a height by leaving out what matters least."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from planner.report.formats.terminal.layout import table_lines, wrapped
from planner.report.views.summary.parts import HEIGHT, Grid, Paragraph, Part, Screen

STYLES = {"good": "bold green", "bad": "bold red", "warn": "yellow", "faint": "dim", "": ""}


def show_screen(console: Console, screen: Screen) -> None:
    """Print it, each line as wide as the console at most."""
    for line in screen_lines(screen, console.width):
        console.print(line, no_wrap=True, overflow="ignore", crop=False)


def screen_lines(screen: Screen, width: int) -> list[Text]:
    """At most ``HEIGHT`` lines where what must stay allows it."""
    laid = [(part, _lines(part, width)) for part in screen.parts]
    dropped = 0
    while True:
        rest = screen.rest(dropped)
        tail = [Text(line, style="dim") for line in wrapped(rest, width, 2)] if rest else []
        if sum(len(lines) for _, lines in laid) + len(tail) <= HEIGHT:
            break
        able = [pair for pair in laid if pair[0].keep]
        if not able:
            break
        least = max(able, key=lambda pair: (pair[0].keep, laid.index(pair)))
        laid.remove(least)
        dropped += getattr(least[0], "counts", 0)
    return [line for _, lines in laid for line in lines] + tail


def _lines(part: Part, width: int) -> list[Text]:
    return _of_grid(part, width) if isinstance(part, Grid) else _of_paragraph(part, width)


def _of_paragraph(part: Paragraph, width: int) -> list[Text]:
    text = f"{part.lead} {part.text}" if part.lead else part.text
    found = [Text("")] if part.space_before else []
    for number, line in enumerate(wrapped(text, width, 2 if part.lead else 0)):
        drawn = Text(line, style=STYLES[part.style] if part.style in ("bad", "warn") else "")
        if not number and part.lead:
            drawn.stylize(STYLES[part.style] or "bold", 0, len(part.lead))
        found.append(drawn)
    return found


def _of_grid(part: Grid, width: int) -> list[Text]:
    found = [Text("")]
    found += [Text(line, style="bold") for line in wrapped(part.title, width)] if part.title else []
    for line, row in table_lines(part.table, width):
        style = (
            "bold"
            if row is None
            else "bold green"
            if row == part.table.marked
            else "dim"
            if row in part.table.faint
            else ""
        )
        found.append(Text(line, style=style))
    return found
