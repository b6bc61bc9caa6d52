"""What documents on a terminal are made of: headings, pairs, lists and tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from planner.report.formats.terminal.console import console_of
from planner.report.formats.terminal.layout import table_lines, wrapped
from planner.report.views import answer as answer_view
from planner.report.views.summary.columns import Column, Columns
from planner.report.views.table import DASH, Table

#: The left of pairs is at most so much of the width, and never narrower than a word needs.
LEFT_SHARE, LEAST_LEFT = 0.4, 20
#: Under the header of a list.
RULE = "─"


def show_table(
    title: str,
    table: Table,
    stream: TextIO,
    *,
    whole: Iterable[int] = (),
    drop: Sequence[str] = (),
) -> None:
    """A plain list, such as that of the known GPUs; figures stand at the right of their columns.
    ``whole``: columns whose cells stay in one line, since they are there to be typed; ``drop``:
    headers of columns that are left out where there is no room, in this order."""
    console = console_of(stream)
    for line in wrapped(title, console.width):
        print_line(console, Text(line, style="bold"))
    draw_table(console, table, whole=whole, drop=drop)


def show_sections(sections: Iterable[Any], stream: TextIO) -> None:
    """Titled parts, each with pairs, a table or lines, as ``device_view.Section`` holds them."""
    console = console_of(stream)
    for section in sections:
        pairs(console, section.title, list(section.pairs))
        bullets(console, section.title, list(section.lines))
        if section.table is not None:
            heading(console, section.title)
            draw_table(console, section.table)


def print_line(console: Console, line: Text) -> None:
    """One that is laid out already."""
    console.print(line, no_wrap=True, overflow="ignore", crop=False)


def paragraph(console: Console, text: str, style: str = "", *, lead: str = "") -> None:
    for line in wrapped(lead + text, console.width, len(lead)):
        print_line(console, Text(line, style=style))


def heading(console: Console, title: str) -> None:
    console.print()
    for line in wrapped(title, console.width):
        print_line(console, Text(line, style="bold"))


def bullets(console: Console, title: str, lines: list[str], style: str = "") -> None:
    if not lines:
        return
    heading(console, title)
    for line in lines:
        paragraph(console, line, style, lead="- ")


def pairs(console: Console, title: str, found: list[tuple[str, str]]) -> None:
    """Left and right beside each other; where a left is long, the rights below it."""
    if not found:
        return
    heading(console, title)
    widest = max(LEAST_LEFT, int(console.width * LEFT_SHARE))
    left = [Column("", tuple(left for left, _ in found))]
    width = min(widest, max(len(cell) for cell in left[0].cells))
    for name, text in found:
        lefts, rights = wrapped(name, width), wrapped(text, console.width - width - 2)
        for number in range(max(len(lefts), len(rights))):
            first = lefts[number] if number < len(lefts) else ""
            second = rights[number] if number < len(rights) else ""
            print_line(console, Text(f"{first.ljust(width)}  {second}".rstrip()))


def draw_table(
    console: Console,
    table: Table,
    *,
    right: Iterable[int] | None = None,
    whole: Iterable[int] = (),
    drop: Sequence[str] = (),
    faint: Iterable[int] = (),
) -> None:
    """A view's table of texts. ``right``: columns of figures, by default those that look so."""
    cells = [tuple(column) for column in zip(*table.rows)] or [() for _ in table.headers]
    figures, kept = set(_figures(cells) if right is None else right), set(whole)
    columns = tuple(
        Column(
            header,
            column,
            number=index in figures,
            drop=len(drop) - drop.index(header) if header in drop else 0,
            whole=index in kept,
        )
        for index, (header, column) in enumerate(zip(table.headers, cells))
    )
    console.print()
    hidden, header = frozenset(faint), list[int]()
    for line, row in table_lines(Columns(columns), console.width):
        if row is not None and header:
            print_line(console, Text("  " + RULE * (max(header) - 2), style="dim"))
            header.clear()
        elif row is None:
            header.append(len(line))
        style = "bold" if row is None else "dim" if row in hidden else ""
        print_line(console, Text(line, style=style))
    console.print()


def _figures(columns: Sequence[Sequence[str]]) -> list[int]:
    return [
        index
        for index, cells in enumerate(columns)
        if cells and all(cell == DASH or cell[:1] in "$0123456789" for cell in cells)
    ]


def first_lines(console: Console, document: Mapping[str, Any]) -> None:
    """How the question was understood, above all that a document shows."""
    for text, warns in answer_view.first_lines(document):
        paragraph(console, text, "yellow" if warns else "", lead="! " if warns else "")
