"""Whether gradients are clipped by their common norm, and at which."""

from __future__ import annotations

from planner.errors import FieldName, QuestionError
from planner.first_lines import FirstLine
from planner.question import Question
from planner.question.stack import stack_of


def clipped_at(question: Question) -> float:
    """The norm that all gradients are clipped at, as asked or as the stack does by itself; 0 for
    none."""
    if question.max_grad_norm is not None:
        return question.max_grad_norm
    if question.optimizer_in_backward:
        return 0.0  # gradients that are gone as soon as they are used have no common norm
    return stack_of(question.stack).number("max_grad_norm") or 0.0


def is_clipped(question: Question) -> bool:
    return clipped_at(question) > 0


def check_clipping(question: Question, within: str | None) -> None:
    """Raises QuestionError for clipping beside updates inside the backward pass; ``within``: what
    asks for those."""
    if within is not None and question.max_grad_norm:
        raise QuestionError(
            f"{within} frees each gradient before there is a norm of all",
            where=FieldName("max_grad_norm"),
            mend="Leave it out, or ask for 0",
        )


def clipping_lines(question: Question) -> list[FirstLine]:
    """What is asked; the stack's own is said where it takes time."""
    if question.max_grad_norm is None:
        return []
    text = (
        f"gradients are clipped at a norm of {question.max_grad_norm:g}"
        if question.max_grad_norm
        else "gradients are not clipped"
    )
    return [FirstLine("run", text)]
