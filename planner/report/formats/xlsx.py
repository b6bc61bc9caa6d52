"""The budget report as a workbook: change the price of a GPU-hour, the epochs or the trials, and
the totals follow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.formats.paper.budgeted import budgeted
from planner.report.formats.registry import Format
from planner.report.formats.workbook.book import made


def render(answer: Mapping[str, Any]) -> bytes:
    """Raises QuestionError for an answer without its budget, MissingExtraError without
    xlsxwriter."""
    return made(budgeted(answer, ".xlsx"))


FORMATS = (Format("answer", ".xlsx", render, order=24),)
