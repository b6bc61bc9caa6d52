"""A document with its budget, or one line that says how to get one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.errors import QuestionError


def budgeted(answer: Mapping[str, Any], suffix: str) -> Mapping[str, Any]:
    """The document itself. Raises QuestionError where it is an answer alone."""
    if "budget" not in answer:
        raise QuestionError(
            f"a {suffix} report shows the budget, which this answer was made without",
            mend=f"Ask planner report for it: planner report MODEL DATA -o budget{suffix}",
        )
    return answer
