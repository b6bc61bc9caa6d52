"""The whole workbook: its sheets, the names of its cells, its charts."""

from __future__ import annotations

import datetime
import io
from collections.abc import Mapping
from typing import Any

from planner.libraries import import_reporting
from planner.report.formats.workbook import charts, costs, ground, options, project, summary
from planner.report.formats.workbook.live import live
from planner.report.formats.workbook.sheet import Sheet
from planner.report.formats.workbook.style import Styles
from planner.report.words import clean

SHEETS = (
    "Summary",
    "Costs",
    "Strategies",
    "Offers",
    "Sensitivity",
    "Project",
    "Assumptions",
    "Glossary",
)
#: No text becomes a formula, a link or a number by how it begins.
SAFE = {
    "in_memory": True,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "strings_to_numbers": False,
}


def made(document: Mapping[str, Any]) -> bytes:
    """The file of a ``BudgetDocument``. Raises MissingExtraError without xlsxwriter."""
    stream = io.BytesIO()
    book = import_reporting("xlsxwriter", "a workbook (.xlsx)").Workbook(stream, SAFE)
    _properties(book, document["budget"])
    styles = Styles(book)
    sheets = {name: Sheet(name, book.add_worksheet(name), styles) for name in SHEETS}
    _fill(document, sheets, book)
    book.close()
    return stream.getvalue()


def _properties(book: Any, budget: Mapping[str, Any]) -> None:
    """With the day of the report alone, so that the same report is the same file."""
    day = datetime.datetime.fromisoformat(budget["reproduce"]["made"])
    version = clean(budget["reproduce"]["version"])
    book.set_properties(
        {"title": clean(budget["title"]), "comments": f"planner {version}", "created": day}
    )


def _fill(document: Mapping[str, Any], sheets: Mapping[str, Sheet], book: Any) -> None:
    def name_cell(name: str, sheet: Sheet, row: int, column: int) -> None:
        book.define_name(name, f"={sheet.name}!${chr(ord('A') + column)}${row + 1}")

    moves = live(document)
    costs.write(document, moves, sheets["Costs"], name_cell)
    listed = options.strategies(document, moves, sheets["Strategies"])
    offered = options.offers(document, sheets["Offers"])
    swings, spread = options.sensitivity(document, sheets["Sensitivity"])
    project.write(document, moves, sheets["Project"], name_cell)
    ground.assumptions(document, sheets["Assumptions"])
    ground.glossary(document, sheets["Glossary"])
    summary.write(document, moves, sheets["Summary"], name_cell)
    charts.costs_of_strategies(book, sheets["Strategies"], listed, sheets["Summary"])
    if moves.option and moves.option.get("run"):
        charts.phases(book, sheets["Costs"], sheets["Costs"].tables[0])
    if offered:
        charts.offers(book, sheets["Offers"], offered)
    usd = document["budget"]["headline"]["usd"]
    if swings and usd:
        charts.tornado(book, sheets["Sensitivity"], swings, usd["p50"])
    if spread:
        charts.chances(book, sheets["Sensitivity"], spread)
