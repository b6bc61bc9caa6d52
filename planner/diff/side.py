"""One side of a comparison: a question, the answer to it, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from planner.errors import PlannerError
from planner.question import TRAINING_STRATEGIES, Question
from planner.question.parsing import question_from


@dataclass(frozen=True)
class Side:
    """``label``: how it is called. ``question`` None: what an answer was asked cannot be asked any
    more, ``why_not`` says so. ``answer`` None: it has to be asked. ``notes``: what reading it
    took for granted."""

    label: str
    question: Question | None
    answer: Mapping[str, Any] | None = None
    why_not: str = ""
    notes: tuple[str, ...] = ()


def of_project(path: Path, label: str | None = None, notes: tuple[str, ...] = ()) -> Side:
    """A project file. Raises QuestionError."""
    question = question_from(str(path), None, {})
    return Side(label or str(path), question, notes=(*notes, *question.notes))


def of_answer(document: Mapping[str, Any], label: str) -> Side:
    """An answer that was given before. Its question is asked again where its data is still
    there."""
    asked = {name: value for name, value in document["question"].items() if _is_asked(name, value)}
    try:
        question = Question.model_validate(asked)
    except PlannerError as error:
        return Side(label, None, document, f"its question is not one of today's: {error}")
    if question.data is not None and not Path(question.data).exists():
        return Side(label, None, document, f"its data {question.data} is not here")
    return Side(label, question, document)


def _is_asked(name: str, value: Any) -> bool:
    """What differs from a question's defaults; an answer to all strategies lists them."""
    info = Question.model_fields.get(name)
    if name == "strategy" and value and set(TRAINING_STRATEGIES) <= set(value):
        return False
    return info is None or info.is_required() or value != info.default


def like(side: Side, other: Side) -> Side:
    """An answer says the task that was found as if it had been asked; beside a question that leaves
    it open it is left open too."""
    if side.answer is None or side.question is None or other.question is None:
        return side
    if other.answer is not None or other.question.task is not None:
        return side
    asked = {n: getattr(side.question, n) for n in side.question.model_fields_set if n != "task"}
    return replace(side, question=Question.model_validate(asked))
