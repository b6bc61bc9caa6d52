"""The document of ``planner diff``: two questions or answers side by side, what changed and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.answer.estimate import estimate
from planner.diff.causes import TABLES, Cause, causes, fields_changed, remainder
from planner.diff.figures import FIGURES, by_strategy, change, recommended
from planner.diff.gate import broken, of_new
from planner.diff.side import Side, like
from planner.errors import PlannerError, QuestionError
from planner.question import Question
from planner.trace.source import Progress

SCHEMA = 1
#: A share of a figure that is a sum's rounding and no change.
TINY = 1e-9
Answer = Mapping[str, Any]


def diff(
    a: Side | None,
    b: Side | None,
    progress: Progress | None = None,
    *,
    max_increase_usd: float | None = None,
    max_increase_percent: float | None = None,
) -> dict[str, Any]:
    """Plain JSON values (``schema.py`` holds the schema). A side is None where a project is new, or
    gone. Raises PlannerError."""

    def ask(question: Question) -> Answer:
        return estimate(question, progress=progress)

    limits = {"max_increase_usd": max_increase_usd, "max_increase_percent": max_increase_percent}
    if a is None or b is None:
        return _alone(a, b, limits, ask)
    a, b = like(a, b), like(b, a)
    today = None if a.question is None else _today(a, ask)
    one = a.answer if a.answer is not None else today
    assert one is not None  # a side without an answer has a question
    found, two, why_not = _why(a, b, one, today, ask)
    before, after = recommended(one), recommended(two)
    return {
        "schema": SCHEMA,
        "a": _side(a, one),
        "b": _side(b, two),
        "question": _fields(a, b, one, two),
        "recommended": {"a": before, "b": after, "change": change(before, after)},
        "strategies": _strategies(one, two),
        "causes": [cause.as_dict() for cause in found],
        "no_causes": why_not or None,
        "gate": {**limits, "broken": broken(before, after, **limits)},
        "notes": [*a.notes, *b.notes],
    }


def _alone(
    a: Side | None, b: Side | None, limits: dict[str, float | None], ask: Any
) -> dict[str, Any]:
    """A project that is new, or gone: the other side is nothing and costs nothing."""
    side = a or b
    if side is None or side.question is None:
        raise QuestionError("neither side is there")
    answer = ask(side.question)
    found, nothing = recommended(answer), None
    pair = (found, nothing) if b is None else (nothing, found)
    kept = [] if b is None else of_new(found, **limits)
    strategies = [
        {
            "name": name,
            "a": figures if b is None else None,
            "b": None if b is None else figures,
            "change": change(None, None),
        }
        for name, figures in by_strategy(answer).items()
    ]
    return {
        "schema": SCHEMA,
        "a": None if a is None else _side(a, answer),
        "b": None if b is None else _side(b, answer),
        "question": [],
        "recommended": {"a": pair[0], "b": pair[1], "change": change(None, None)},
        "strategies": strategies,
        "causes": [],
        "no_causes": f"the project is {'new' if a is None else 'gone'}",
        "gate": {**limits, "broken": kept},
        "notes": list(side.notes),
    }


def _today(side: Side, ask: Any) -> Answer | None:
    """The side's question asked today; None where an answer's cannot be answered any more."""
    try:
        return ask(side.question)
    except PlannerError:
        if side.answer is None:
            raise
        return None


def _why(
    a: Side, b: Side, one: Answer, today: Answer | None, ask: Any
) -> tuple[list[Cause], Answer, str]:
    """(causes, the answer of ``b``, why there are none)."""
    missing = next((f"{s.label}: {s.why_not}" for s in (a, b) if s.question is None), "")
    if missing or today is None or a.question is None or b.question is None:
        two = b.answer if b.answer is not None else ask(b.question)
        return [], two, missing or f"{a.label}: its question cannot be answered any more"
    found = [remainder(TABLES, one, today)] if a.answer is not None else []
    try:
        steps, last = causes(ask, a.question, b.question, today)
    except PlannerError as error:
        if b.answer is None:
            raise
        return [], b.answer, f"{b.label}: {error}"
    found += steps
    two = last
    if b.answer is not None:
        two = b.answer
        found.append(remainder(TABLES, last, two))
    return [cause for cause in found if cause.fields or _moves(cause)], two, ""


def _moves(cause: Cause) -> bool:
    """Whether a remainder is more than the rounding of sums, or another recommendation."""
    if (cause.before is None) != (cause.after is None):
        return True
    if cause.before is None or cause.after is None:
        return False
    figures = any(
        cause.delta[name] is not None and abs(cause.delta[name]) > TINY * abs(cause.before[name])
        for name in FIGURES
    )
    return figures or any(
        cause.before[name] != cause.after[name] for name in ("strategy", "variant", "gpu", "gpus")
    )


def _side(side: Side, answer: Answer) -> dict[str, Any]:
    return {
        "label": side.label,
        "kind": "question" if side.answer is None else "answer",
        "model": answer["model"]["name"],
        "samples": answer["dataset"].get("samples"),
    }


def _fields(a: Side, b: Side, one: Answer, two: Answer) -> list[dict[str, Any]]:
    """What was asked otherwise."""
    if a.question is not None and b.question is not None:
        changed = fields_changed(a.question, b.question)
    else:
        names = dict.fromkeys([*one["question"], *two["question"]])
        changed = [
            (name, one["question"].get(name), two["question"].get(name))
            for name in names
            if one["question"].get(name) != two["question"].get(name)
        ]
    return [{"field": name, "a": before, "b": after} for name, before, after in changed]


def _strategies(one: Answer, two: Answer) -> list[dict[str, Any]]:
    before, after = by_strategy(one), by_strategy(two)
    return [
        {
            "name": name,
            "a": before.get(name),
            "b": after.get(name),
            "change": change(before.get(name), after.get(name)),
        }
        for name in dict.fromkeys([*before, *after])
    ]
