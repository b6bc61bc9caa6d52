"""What of it a question asks: refused where it does not go together, and said in the first
lines."""

from __future__ import annotations

from typing import Any

from planner.errors import FieldName
from planner.first_lines import FirstLine
from planner.plan.around.clipping import check_clipping, clipping_lines
from planner.question import Question
from planner.question.optimizers import asked_row


def check_around(question: Question, optimizer: str) -> None:
    """Raises QuestionError for settings that exclude each other."""
    row = asked_row(optimizer)
    within = None
    if question.optimizer_in_backward:
        within = str(FieldName("optimizer_in_backward"))
    elif row is not None and row.in_backward:
        within = optimizer
    check_clipping(question, within)


def around_lines(question: Question) -> list[FirstLine]:
    """What is assumed, where it is asked for."""
    return clipping_lines(question)


def around_values(question: Question) -> dict[str, Any]:
    """What is asked, for the document."""
    asked = {"max_grad_norm": question.max_grad_norm}
    return {name: value for name, value in asked.items() if value is not None}
