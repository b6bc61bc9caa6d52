"""The budget report as a workbook: change the price of a GPU-hour, the epochs or the trials, and
the totals follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import QuestionError
from planner.report.formats.registry import Format
from planner.report.formats.workbook.book import made


def render(answer: Mapping[str, Any]) -> bytes:
    """Raises QuestionError for an answer without its budget, whose lines the formulas are made of;
    MissingExtraError without xlsxwriter."""
    if "budget" not in answer:
        raise QuestionError(
            "a workbook shows the budget, which this answer was made without",
            mend="Ask planner report for it: planner report MODEL DATA -o budget.xlsx",
        )
    return made(answer)


FORMATS = (Format("answer", ".xlsx", render, order=24),)
