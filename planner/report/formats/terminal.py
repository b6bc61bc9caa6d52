"""An answer on a terminal: reads well at 100 columns, plain when piped. User's strings are shown,
never interpreted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from planner.report.views import answer as answer_view
from planner.report.views import data as data_view
from planner.report.views import option as option_view
from planner.report.views import table as table_view

PIPED_WIDTH, WIDEST, NARROWEST = 100, 140, 60


def show(answer: Mapping[str, Any], stream: TextIO, *, brief: bool = False) -> None:
    """Print an answer. ``brief``: only the table, the recommendation and broken limits."""
    console = _console(stream)
    _first_lines(console, answer)
    _comparison(console, answer)
    _recommendation(console, answer)
    if brief:
        return
    _fixes(console, answer)
    _list(console, "Break-even", answer_view.break_even(answer))
    _pairs(
        console,
        "Serving",
        [
            (option_view.name(option), option_view.serving(option))
            for option in answer["options"]
            if option_view.serving(option)
        ],
    )
    _pairs(console, "Understood", answer_view.understood(answer))
    _pairs(console, "Training choices", answer_view.choices(answer))
    _pairs(console, "Where the figures stand", answer_view.standing(answer))
    _list(console, "Assumptions", answer_view.lines(answer, "assumptions"))
    _list(console, "Warnings", answer_view.lines(answer, "warnings"), style="yellow")


def show_first_lines(document: Mapping[str, Any], stream: TextIO) -> None:
    """How the question was understood, above all that a document shows."""
    _first_lines(_console(stream), document)


def _first_lines(console: Console, document: Mapping[str, Any]) -> None:
    for text, warns in answer_view.first_lines(document):
        console.print(Text(f"! {text}" if warns else text, style="yellow" if warns else ""))


def show_table(
    title: str, table: table_view.Table, stream: TextIO, *, whole: Iterable[int] = ()
) -> None:
    """A plain list, such as that of the known GPUs; figures stand at the right of their columns.
    ``whole``: columns whose cells are never broken, since they are there to be typed."""
    console = _console(stream)
    drawn = _table(
        table,
        title,
        right=[
            i
            for i, cells in enumerate(zip(*table.rows))
            if all(c == table_view.DASH or c[:1] in "$0123456789" for c in cells)
        ],
    )
    for index in whole:
        drawn.columns[index].no_wrap = True
    console.print(drawn)


def _console(stream: TextIO) -> Console:
    """A pipe has no width of its own: a fixed one keeps what is piped the same everywhere."""
    terminal = stream.isatty()
    console = Console(
        file=stream,
        width=None if terminal else PIPED_WIDTH,
        no_color=None if terminal else True,
        force_terminal=None if terminal else False,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )
    if terminal:
        console.width = max(NARROWEST, min(console.width, WIDEST))
    return console


def _table(table: table_view.Table, title: str | None, right: Iterable[int]) -> Table:
    drawn = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for index, header in enumerate(table.headers):
        drawn.add_column(
            header, justify="right" if index in right else "left", overflow="fold", no_wrap=False
        )
    for row in table.rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


def _comparison(console: Console, answer: Mapping[str, Any]) -> None:
    table = answer_view.comparison(answer)
    if not table.rows:
        return
    if answer_view.only_device(answer):
        console.print(Text(f"On {answer_view.only_device(answer)}", style="bold"))
    drawn = _table(table, None, right=range(len(table.headers) - 5, len(table.headers)))
    for column in drawn.columns[-5:]:
        column.no_wrap = True
    if table.rows:
        drawn.columns[0].min_width = min(
            20, max(len(word) for row in table.rows for word in row[0].split()[:1])
        )
    for index, option in enumerate(answer["options"]):
        drawn.rows[index].style = "dim" if option.get("fits") is False else None
    console.print(drawn)
    console.print(Text("Ranges hold with 80 % probability (p10–p90).", style="dim"))


def _recommendation(console: Console, answer: Mapping[str, Any]) -> None:
    title, why = answer_view.recommendation(answer)
    console.print()
    console.print(Text.assemble(("Recommended: ", "bold"), (title, "bold green"), f". {why}"))
    for line in answer_view.limits(answer):
        console.print(Text(f"Limit: {line}", style="bold red"))


def _fixes(console: Console, answer: Mapping[str, Any]) -> None:
    for option in answer["options"]:
        found = option_view.fixes(option)
        if found:
            _heading(
                console,
                f"{option_view.name(option)} on {option_view.device(option)} does not fit"
                if option.get("fits") is False
                else f"{option_view.name(option)}: to use less memory",
            )
            if option_view.peak(option):
                console.print(Text(f"Peak {option_view.peak(option)}"))
            console.print(
                _table(table_view.Table(("Change", "Memory", ""), tuple(found)), None, right=())
            )


def _pairs(console: Console, title: str, pairs: list[tuple[str, str]]) -> None:
    if not pairs:
        return
    _heading(console, title)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(max_width=max(20, console.width * 2 // 5), overflow="fold")
    grid.add_column(overflow="fold")
    for left, right in pairs:
        grid.add_row(Text(left), Text(right))
    console.print(grid)


def _list(console: Console, title: str, lines: list[str], style: str = "") -> None:
    if not lines:
        return
    _heading(console, title)
    for line in lines:
        console.print(Text(f"- {line}", style=style))


def _heading(console: Console, title: str) -> None:
    console.print()
    console.print(Text(title, style="bold"))


def show_sections(sections: Iterable[Any], stream: TextIO) -> None:
    """Titled parts, each with pairs, a table or lines, as ``device_view.Section`` holds them."""
    console = _console(stream)
    for section in sections:
        _pairs(console, section.title, list(section.pairs))
        _list(console, section.title, list(section.lines))
        if section.table is not None:
            _heading(console, section.title)
            console.print(_table(section.table, None, right=range(1, len(section.table.headers))))


def show_data(document: Mapping[str, Any], stream: TextIO, *, brief: bool = False) -> None:
    """What was understood of a dataset. Parts that the loss is taken on are green on a terminal and
    stand in [[ ]] elsewhere. ``brief``: without the records."""
    console = _console(stream)
    _first_lines(console, document)
    _pairs(console, "Understood", data_view.understood(document))
    if document["columns"]:
        _heading(console, "Columns")
        console.print(_table(data_view.columns(document), None, right=(2,)))
    if not brief:
        for title, parts in data_view.records(document):
            _heading(console, title)
            console.print(_marked(parts, plain=not stream.isatty()))
    if document["histogram"]:
        _heading(console, "Lengths")
        console.print(_table(data_view.histogram(document), None, right=(0, 1)))
    _pairs(console, "In batches", data_view.batches(document))
    _list(console, "Assumptions", data_view.lines(document, "assumptions"))
    _list(console, "Warnings", data_view.lines(document, "warnings"), style="yellow")


def _marked(parts: list[tuple[str, bool]], *, plain: bool) -> Text:
    text = Text()
    for part, trained in parts:
        text.append(
            f"[[{part}]]" if plain and trained else part, style="bold green" if trained else "dim"
        )
    return text
