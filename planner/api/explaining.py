"""``explain`` and ``diff``: why an answer is as it is, and what changed between two."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Unpack

from planner.api.asking import Path, argument, as_python_says, asked
from planner.errors import QuestionError, fields_spelled
from planner.question import Question

if TYPE_CHECKING:
    from planner.api.explained import Difference, Explanation
    from planner.api.fields import QuestionFields
    from planner.diff.side import Side
    from planner.trace.source import Progress


def explain(
    question: Question | Path,
    data: Path | None = None,
    *,
    changes: bool = True,
    progress: Progress | None = None,
    **fields: Unpack[QuestionFields],
) -> Explanation:
    """Where time and memory of a training step go, and what each change would buy, of the option
    that ``estimate`` recommends.

    Arguments as of ``estimate``; ``changes``: whether each change is asked too, which may record
    the model anew. Returns the document of ``planner explain --json``. Raises PlannerError.
    """
    from planner.api.explained import Explanation
    from planner.explain.document import explain as explained

    wanted = asked(question, data, fields)
    return Explanation(as_python_says(lambda: explained(wanted, progress, changes=changes)))


def diff(
    a: Question | Mapping[str, Any] | Path,
    b: Question | Mapping[str, Any] | Path,
    *,
    max_increase_usd: float | None = None,
    max_increase_percent: float | None = None,
    progress: Progress | None = None,
) -> Difference:
    """What changed from ``a`` to ``b`` and why: each an answer, a ``Question`` or a
    ``project.yaml``.

    ``max_increase_usd`` (US dollars) and ``max_increase_percent`` are limits:
    ``difference["gate"]["broken"]`` holds a sentence for each that is not kept. Returns the
    document of ``planner diff --json``. Raises PlannerError.
    """
    from planner.api.explained import Difference
    from planner.diff.document import diff as compared

    one, two = _side(a, "a"), _side(b, "b")
    limits = {"max_increase_usd": max_increase_usd, "max_increase_percent": max_increase_percent}
    return Difference(as_python_says(lambda: compared(one, two, progress, **limits)))


def _side(given: Question | Mapping[str, Any] | Path, label: str) -> Side:
    from planner.diff.side import Side, of_answer, of_project

    if isinstance(given, Question):
        return Side(label, given, notes=given.notes)
    if isinstance(given, Mapping):
        return of_answer(_checked(given, label), label)
    with fields_spelled(argument):
        return of_project(pathlib.Path(given))


def _checked(document: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    """Raises QuestionError where it is no answer."""
    from pydantic import ValidationError

    from planner.answer.schema import Answer as AnswerSchema

    try:
        AnswerSchema.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise QuestionError(
            f"not an answer of this version: {place}: {first['msg']}", where=label
        ) from None
    return document
