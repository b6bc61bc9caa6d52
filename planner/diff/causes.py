"""Why two answers differ: the fields of the question changed one after another, each with what it
brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from planner.diff.figures import change, recommended
from planner.errors import PlannerError
from planner.question import Question

Answer = Mapping[str, Any]
Ask = Callable[[Question], Answer]
#: What no field of the question explains.
TABLES = "prices, tables and the planner itself"
DATA = "data"


@dataclass(frozen=True)
class Cause:
    """``fields``: (name, before, after) that changed together, since one without the other is no
    question; none where ``what`` is a remainder. ``delta``: of the recommended option's figures."""

    what: str
    fields: tuple[tuple[str, Any, Any], ...]
    delta: dict[str, Any]
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    def as_dict(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "fields": [{"field": n, "before": b, "after": a} for n, b, a in self.fields],
            "delta": self.delta,
            "before": self.before,
            "after": self.after,
        }


def fields_changed(before: Question, after: Question) -> list[tuple[str, Any, Any]]:
    """(field, before, after) in the order of the question's fields."""
    one, two = _shown(before), _shown(after)
    return [
        (name, one[name], two[name])
        for name in Question.model_fields
        if one[name] != two[name] or (name == DATA and _same_file(before, after) is False)
    ]


def _shown(question: Question) -> dict[str, Any]:
    """Paths by their names: a copy of another revision lies elsewhere and is the same data."""
    values = question.model_dump(mode="json")
    for name in (DATA, "model", "teacher", "gpu"):
        if isinstance(values[name], str) and Path(values[name]).is_absolute():
            values[name] = Path(values[name]).name
    return values


def _same_file(before: Question, after: Question) -> bool | None:
    """Whether two files hold the same; None where they are no files."""
    one, two = before.data, after.data
    if one is None or two is None or not (Path(one).is_file() and Path(two).is_file()):
        return None
    if Path(one).resolve() == Path(two).resolve():
        return True
    return Path(one).read_bytes() == Path(two).read_bytes()


def causes(
    ask: Ask, before: Question, after: Question, first: Answer
) -> tuple[list[Cause], Answer]:
    """(each change in its order, the answer at the end). ``first``: the answer to ``before``. A
    change that is no question by itself, or that cannot be answered, is taken with the next.
    Raises what the last answer raises."""
    found: list[Cause] = []
    current, answer = before, first
    pending: list[tuple[str, Any, Any]] = []
    changed = fields_changed(before, after)
    for number, field in enumerate(changed):
        pending.append(field)
        is_last = number == len(changed) - 1
        wanted = after if is_last else _with(current, after, [name for name, *_ in pending])
        if wanted is None:
            continue
        try:
            next_answer = ask(wanted)
        except PlannerError:
            if is_last:
                raise
            continue
        found.append(_cause(pending, answer, next_answer))
        current, answer, pending = wanted, next_answer, []
    return found, answer


def _with(current: Question, after: Question, names: list[str]) -> Question | None:
    """None where that is no question."""
    asked = {name: getattr(current, name) for name in current.model_fields_set}
    for name in names:
        asked.pop(name, None)
        if name in after.model_fields_set:
            asked[name] = getattr(after, name)
    try:
        return Question.model_validate(asked)
    except PlannerError:
        return None


def _cause(fields: list[tuple[str, Any, Any]], before: Answer, after: Answer) -> Cause:
    one, two = recommended(before), recommended(after)
    what = " and ".join(name for name, *_ in fields)
    return Cause(what, tuple(fields), change(one, two), one, two)


def remainder(what: str, before: Answer, after: Answer) -> Cause:
    """What changed without a change of the question."""
    one, two = recommended(before), recommended(after)
    return Cause(what, (), change(one, two), one, two)
