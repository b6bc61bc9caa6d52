"""The sheet Project: what people pay around the run, and the order to go in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.report.formats.workbook import live as names
from planner.report.formats.workbook.costs import Namer
from planner.report.formats.workbook.live import Live
from planner.report.formats.workbook.sheet import Cell, Column, Formula, Input, Sheet

PROJECT = (
    Column("What people pay for", width=34),
    Column("Low quantity", "amount", 11),
    Column("High quantity", "amount", 11),
    Column("Unit", width=14),
    Column("Low in the plan (USD)", "usd", 12),
    Column("High in the plan (USD)", "usd", 12),
    Column("Follows", width=22),
    Column("Low (USD)", "usd", 12),
    Column("High (USD)", "usd", 12),
    Column("Note", width=36),
    Column("Source", width=50),
)
STAGES = (
    Column("Stage"),
    Column("Cost (USD)", "usd"),
    Column("Spent by then (USD)", "usd"),
    Column("Strategy"),
    Column("Where", span=2),
    Column("When to go on, when to stop", span=4),
    Column("Why it cannot be priced"),
)
FOLLOWS = {
    "run": "the run's GPU time",
    "hour": "the price of a GPU-hour",
    "share": "the lines above",
    "": "nothing: as planned",
}


def write(document: Mapping[str, Any], moves: Live, sheet: Sheet, name_cell: Namer) -> None:
    """Low and high of the project as people run it, then the order to go in."""
    sheet.columns(column.width for column in PROJECT)
    sheet.title(
        "The project as people run it", "From few repeats to many. Yellow cells are inputs."
    )
    part = document["budget"]["project"]
    if part:
        _project_lines(part, moves, sheet, name_cell)
    else:
        sheet.line("No project is priced: nothing is recommended.")
    if stages := document["budget"]["stages"]:
        sheet.heading("The order to go in")
        keys = ("name", "usd", "spent_by_then_usd", "strategy", "where", "go_on", "why_not")
        sheet.table(STAGES, [[stage[key] for key in keys] for stage in stages])
    sheet.print_setup()


def _project_lines(part: Mapping[str, Any], moves: Live, sheet: Sheet, name_cell: Namer) -> None:
    first = sheet.row + 2
    rows = [
        _project_line(line, row, first, part["lines"], moves)
        for row, line in enumerate(part["lines"], start=first)
    ]
    last = first + len(rows) - 1
    low, high = part["low_usd"], part["high_usd"]
    total: list[Cell] = ["The project", None, None, None, low, high, None]
    total += [
        Formula(f"=SUM({at}{first}:{at}{last})", end) for at, end in (("H", low), ("I", high))
    ]
    sheet.table(PROJECT, rows, total=[*total, None, None])
    name_cell(names.PROJECT_LOW, sheet, sheet.row - 1, 7)
    name_cell(names.PROJECT_HIGH, sheet, sheet.row - 1, 8)


def _project_line(
    line: Mapping[str, Any],
    row: int,
    first: int,
    lines: Sequence[Mapping[str, Any]],
    moves: Live,
) -> list[Cell]:
    follows = _basis(line["unit"]) if moves.price is not None else ""
    above = [
        at
        for at, each in enumerate(lines, start=first)
        if at < row and _basis(each["unit"]) in ("run", "hour")
    ]
    start: list[Cell] = [line["name"], *_quantities(line, follows), line["unit"]]
    start += [line["low_usd"], line["high_usd"], FOLLOWS[follows]]
    ends: list[Cell] = [
        Formula(
            f"={planned}{row}{_factor(follows, columns, above)}{_counted(line, key, at, row)}", usd
        )
        for key, at, planned, columns, usd in (
            ("low", "B", "E", ("E", "H"), line["low_usd"]),
            ("high", "C", "F", ("F", "I"), line["high_usd"]),
        )
    ]
    return [*start, *ends, line["note"], line["source"]]


def _quantities(line: Mapping[str, Any], follows: str) -> list[Cell]:
    """What the reader may change: runs and hours, of which there are any."""
    return [
        Input(line[key]) if _changes(line, key) and follows in ("run", "hour") else line[key]
        for key in ("low", "high")
    ]


def _changes(line: Mapping[str, Any], key: str) -> bool:
    return bool(line[key]) and line["unit"] != "run"


def _counted(line: Mapping[str, Any], key: str, column: str, row: int) -> str:
    """In proportion to the quantity beside it."""
    if not _changes(line, key) or _basis(line["unit"]) not in ("run", "hour"):
        return ""
    return f"*{column}{row}/{line[key]!r}"


def _basis(unit: str) -> str:
    return next((part for part in ("share", "run", "hour") if part in unit), "")


def _factor(follows: str, columns: tuple[str, str], above: Sequence[int]) -> str:
    """By what a line of the project grows when the inputs change. ``columns``: of sums in the plan
    and now."""
    if follows == "run":
        return f"*{names.ratio(names.RENTED, names.RENTED_PLANNED)}"
    if follows == "hour":
        return f"*{names.ratio(names.PRICE, names.PRICE_PLANNED)}"
    if follows == "share" and above:
        sums = ["+".join(f"{at}{row}" for row in above) for at in columns]
        return f"*({sums[1]})/({sums[0]})"
    return ""
