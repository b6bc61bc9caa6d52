"""The sheet Summary: the sum, what it buys, the inputs that move it, and what decides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.formats.workbook import live as names
from planner.report.formats.workbook.costs import Namer
from planner.report.formats.workbook.live import Live
from planner.report.formats.workbook.sheet import Cell, Column, Formula, Input, Sheet
from planner.report.formats.workbook.style import Kind
from planner.report.views.budget import first_page
from planner.report.views.budget.options import paid_for

#: Facts that stand in the table of sums.
SUMMED = ("Wall-clock time", "GPU time", "Wall-clock and GPU time", "Project as people run it")
ALL_TRIALS = "The run, all its trials"
WIDTHS = (30, 15, 15, 19, 18, 3, 88)
FIGURES = (
    Column("Figure"),
    Column("Median", "usd"),
    Column("Low (p10)", "usd"),
    Column("High (p90)", "usd"),
    Column("Unit"),
)
INPUTS = (
    Column("Input"),
    Column("Value", "amount"),
    Column("In the plan", "amount"),
    Column("Unit", "text"),
)


def write(document: Mapping[str, Any], moves: Live, sheet: Sheet, name_cell: Namer) -> None:
    budget = document["budget"]
    sheet.columns(WIDTHS)
    sheet.title(budget["title"], f"In the plan: {budget['question']}")
    _recommendation(document, sheet)
    if budget["headline"]["usd"]:
        sheet.heading("The sum")
        _sum(document, moves, sheet)
    if moves.price is not None:
        sheet.heading("Inputs: change a yellow cell and every total follows")
        _inputs(moves, sheet, name_cell)
        sheet.line(
            "Ranges keep their proportion to the median. How the provider rounds time stays."
        )
        for why in moves.why_not:
            sheet.line(why)
    _facts(document, sheet)
    sheet.print_setup()


def _recommendation(document: Mapping[str, Any], sheet: Sheet) -> None:
    """What is advised, and the lines that may change the decision."""
    advice = first_page.recommendation(document)
    sheet.heading("Recommendation, in the plan")
    for words in advice.paragraphs:
        sheet.line(words, strong=words is advice.paragraphs[0])
    for line in advice.lines:
        sheet.line(line.text, warning=line.tone in ("warn", "bad"))


def _sum(document: Mapping[str, Any], moves: Live, sheet: Sheet) -> None:
    budget = document["budget"]
    headline = budget["headline"]
    run, wall = moves.price is not None, headline["wall_hours"]
    rows: list[list[Cell]] = [[_paid_for(document, moves), *_follows(headline["usd"], run), "USD"]]
    kinds: dict[tuple[int, int], Kind] = {}
    if project := budget["project"]:
        low, high = project["low_usd"], project["high_usd"]
        ends: list[Cell] = [Formula(f"={names.PROJECT_LOW}", low)]
        ends.append(Formula(f"={names.PROJECT_HIGH}", high))
        rows.append(["The project as people run it", None, *ends, "USD"])
    for title, key, unit in (
        ("Wall-clock time of one run", "wall_hours", "h"),
        ("GPU time of one run", "gpu_hours", "GPU-hours"),
    ):
        if figure := headline[key]:
            planned = None if not (run and wall) else names.ratio(names.WALL, names.WALL_PLANNED)
            kinds |= {(len(rows), at): "hours" for at in (1, 2, 3)}
            rows.append([title, *_times(figure, planned), unit])
    sheet.table(FIGURES, rows, chosen=0, kinds=kinds)


def _paid_for(document: Mapping[str, Any], moves: Live) -> str:
    """Without their number where that is an input."""
    return paid_for(document) if moves.trials is None else ALL_TRIALS


def _follows(figure: Mapping[str, float], moving: bool) -> list[Cell]:
    """A sum with its range, which keeps its proportion to the sum."""
    if not moving or not figure["p50"]:
        return [Formula(f"={names.RUN}", figure["p50"]), figure["p10"], figure["p90"]]
    return [
        Formula(f"={names.RUN}", figure["p50"]),
        *(
            Formula(names.in_proportion(figure[key], figure["p50"]), figure[key])
            for key in ("p10", "p90")
        ),
    ]


def _times(figure: Mapping[str, float], factor: str | None) -> list[Cell]:
    values = [figure[key] for key in ("p50", "p10", "p90")]
    if factor is None:
        return list(values)
    return [Formula(f"={value!r}*{factor}", value) for value in values]


def _inputs(moves: Live, sheet: Sheet, name_cell: Namer) -> None:
    given: list[tuple[str, float, str, str, str, Kind]] = []
    if moves.price is not None:
        unit = "USD per GPU-hour"
        price = names.PRICE, names.PRICE_PLANNED
        given.append(("Price of a GPU-hour", moves.price, unit, *price, "usd"))
    if moves.epochs is not None:
        epochs = names.EPOCHS, names.EPOCHS_PLANNED
        given.append(("Epochs", moves.epochs, "epochs", *epochs, "amount"))
    if moves.trials is not None:
        trials = names.TRIALS, names.TRIALS_PLANNED
        given.append(("Trials", moves.trials, "runs that succeed", *trials, "count"))
    kinds: dict[tuple[int, int], Kind] = {}
    for number, each in enumerate(given):
        kinds |= {(number, at): each[5] for at in (1, 2)}
    first = sheet.row + 1
    rows = [[title, Input(value), value, unit] for title, value, unit, *_ in given]
    sheet.table(INPUTS, rows, kinds=kinds)
    for number, each in enumerate(given):
        name_cell(each[3], sheet, first + number, 1)
        name_cell(each[4], sheet, first + number, 2)


def _facts(document: Mapping[str, Any], sheet: Sheet) -> None:
    """Those of the first page that are no sums of their own here."""
    sheet.heading("In the plan: what does not follow the yellow cells")
    summed = {*SUMMED, paid_for(document)} if document["budget"]["headline"]["usd"] else set()
    facts = [fact for fact in first_page.summary(document).facts if fact.label not in summed]
    columns = (Column("Fact"), Column("In the plan", span=2), Column("More", span=2))
    rows: list[list[Cell]] = [[fact.label, fact.value, fact.detail] for fact in facts]
    made = document["budget"]["reproduce"]["made"]
    sheet.table(columns, [*rows, ["Report made", made, None]])
