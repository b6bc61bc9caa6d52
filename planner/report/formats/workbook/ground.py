"""The sheets that the figures stand on: assumptions, prices, sources, the glossary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from planner.report.formats.workbook.sheet import Cell, Column, Sheet
from planner.report.formats.workbook.style import Kind
from planner.report.views import answer as answer_view
from planner.report.views.budget.ground import command
from planner.report.words import UNKNOWN


def assumptions(document: Mapping[str, Any], sheet: Sheet) -> None:
    budget = document["budget"]
    sheet.columns((34, 70, 16, 14, 12, 10, 10))
    sheet.title("Assumptions and sources")
    _texts(
        "How the question was understood",
        [line["text"] for line in document.get("first_lines") or ()],
        sheet,
    )
    _texts("Assumptions", answer_view.lines(document, "assumptions"), sheet)
    _texts("Warnings", answer_view.lines(document, "warnings"), sheet)
    _texts("Left out", budget["left_out"], sheet)
    _prices(budget["prices"], sheet)
    _accuracy(budget["accuracy"], sheet)
    sheet.heading("Sources")
    columns = [Column("What"), Column("Source"), Column("Date")]
    sheet.table(
        columns, [[s["what"], s["source"], s.get("date") or UNKNOWN] for s in document["sources"]]
    )
    sheet.heading("How to reproduce")
    made = budget["reproduce"]
    pairs = [["Command line", command(document, ".xlsx")], ["Python", made["python"]]]
    pairs += [["planner", made["version"]], ["Report made", made["made"]]]
    sheet.table([Column("What"), Column("How")], pairs)
    sheet.heading("The question")
    sheet.table(
        [Column("What"), Column("Value")], [list(pair) for pair in answer_view.asked(document)]
    )
    sheet.print_setup()


def _texts(title: str, texts: Sequence[str], sheet: Sheet) -> None:
    if not texts:
        return
    sheet.heading(title)
    for text in texts:
        sheet.line(text)


def _prices(prices: Sequence[Mapping[str, Any]], sheet: Sheet) -> None:
    if not prices:
        return
    sheet.heading("Prices")
    columns = [
        Column("GPU"),
        Column("Source"),
        Column("USD per GPU-hour", "usd"),
        Column("Provider"),
        Column("Date"),
        Column("Age (days)", "count"),
        Column("Stale"),
    ]
    keys = ("gpu", "source", "usd_per_gpu_hour", "provider", "date", "age_days", "stale")
    sheet.table(columns, [[price[key] for key in keys] for price in prices])


def _accuracy(part: Mapping[str, Any] | None, sheet: Sheet) -> None:
    if not part:
        return
    sheet.heading("How right the planner was on runs like this one")
    sheet.line(part["like"])
    shares: dict[tuple[int, int], Kind] = {(at, 1): "share" for at in range(1, 5)}
    rows: list[list[Cell]] = [
        ["Runs", part["runs"]],
        ["Median error", part["median_error"]],
        ["Within 30 %", part["within_30_percent"]],
        ["Inside the range", part["inside_range"]],
        ["Bias", part["bias"]],
    ]
    sheet.table([Column("What"), Column("Value", "count")], rows, kinds=shares)
    if part["shown"]:
        columns = [
            Column("Run"),
            Column("Source"),
            Column("Reported (h)", "hours"),
            Column("Planned (h)", "hours"),
            Column("Error", "share"),
        ]
        keys = ("name", "source", "reported_hours", "planned_hours", "error")
        sheet.table(columns, [[run[key] for key in keys] for run in part["shown"]])


def glossary(document: Mapping[str, Any], sheet: Sheet) -> None:
    sheet.columns((28, 100))
    sheet.title("Glossary")
    terms = [[each["term"], each["meaning"]] for each in document["budget"]["glossary"]]
    table = sheet.table([Column("Term"), Column("Meaning")], terms)
    sheet.print_setup(freeze=(table.first, 1))
