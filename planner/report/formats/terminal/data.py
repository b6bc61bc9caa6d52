"""What was understood of a dataset, on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from rich.text import Text

from planner.report.formats.terminal.console import console_of
from planner.report.formats.terminal.pieces import bullets, draw_table, first_lines, heading, pairs
from planner.report.views import data as data_view


def show_data(document: Mapping[str, Any], stream: TextIO, *, brief: bool = False) -> None:
    """What was understood of a dataset. Parts that the loss is taken on are green on a terminal and
    stand in [[ ]] elsewhere. ``brief``: without the records."""
    console = console_of(stream)
    first_lines(console, document)
    pairs(console, "Understood", data_view.understood(document))
    if document["columns"]:
        heading(console, "Columns")
        draw_table(console, data_view.columns(document), right=(2,))
    if not brief:
        for title, parts in data_view.records(document):
            heading(console, title)
            console.print(_marked(parts, plain=not stream.isatty()))
    if document["histogram"]:
        heading(console, "Lengths")
        draw_table(console, data_view.histogram(document), right=(0, 1))
    pairs(console, "In batches", data_view.batches(document))
    bullets(console, "Assumptions", data_view.lines(document, "assumptions"))
    bullets(console, "Warnings", data_view.lines(document, "warnings"), style="yellow")


def _marked(parts: list[tuple[str, bool]], *, plain: bool) -> Text:
    text = Text()
    for part, trained in parts:
        text.append(
            f"[[{part}]]" if plain and trained else part, style="bold green" if trained else "dim"
        )
    return text
