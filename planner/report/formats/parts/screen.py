"""Parts of a page on a terminal of any width: columns are left out where there is no room, words
and figures are never cut; what is piped is plain."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

from rich.text import Text

from planner.report.formats.terminal.console import console_of
from planner.report.formats.terminal.layout import table_lines, wrapped
from planner.report.formats.terminal.pieces import print_line
from planner.report.views.explaining.part import Part
from planner.report.views.summary.columns import Column, Columns

#: How soon columns are left out, as `terminal.layout` weighs it.
SOON = 8


def show_parts(parts: Iterable[Part], stream: TextIO) -> None:
    """A blank line between two."""
    console = console_of(stream)
    for number, part in enumerate(parts):
        if number:
            print_line(console, Text(""))
        for line, style in lines_of(part, console.width):
            print_line(console, Text(line, style=style))


def lines_of(part: Part, width: int) -> list[tuple[str, str]]:
    """(line, style) of a part, each at most ``width`` cells wide."""
    found = [(line, "bold") for line in wrapped(part.title, width)] if part.title else []
    mark, style = ("! ", "yellow") if part.warns else ("- " if part.title else "", "")
    for text in part.lines:
        found += [(line, style) for line in wrapped(mark + text, width, len(mark))]
    found += [(line, "dim") for note in part.notes for line in wrapped(note, width)]
    if part.table is not None and part.table.rows:
        lines = table_lines(Columns(_columns(part)), width)
        found += [(line, "dim" if row is None else "") for line, row in lines]
    return found


def _columns(part: Part) -> tuple[Column, ...]:
    assert part.table is not None
    return tuple(
        Column(
            header,
            cells,
            number=index in part.right,
            # the first of ``drop`` is the first to go
            drop=_rank(part, index),
            whole=index in part.whole,
        )
        for index, (header, cells) in enumerate(zip(part.table.headers, zip(*part.table.rows)))
    )


def _rank(part: Part, index: int) -> int:
    """The first of ``drop`` is the first to go; 0 for a column that stays. A row of one line is
    worth more than what may be dropped."""
    if index not in part.drop:
        return 0
    return SOON * (len(part.drop) - part.drop.index(index))
