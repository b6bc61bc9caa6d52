"""What stands at the end of a report: how it is made again, and its words."""

from __future__ import annotations

import datetime
import json
import shlex
from collections.abc import Mapping
from typing import Any

from planner import tables
from planner.budget.parts.subject import Json, Subject
from planner.errors import flag
from planner.question import Question
from planner.today import today
from planner.version import __version__

#: Given as arguments, not as flags.
ARGUMENTS = ("model", "data")


def reproduce(question: Question | None, asked: Mapping[str, Any]) -> Json:
    """The very command, and the line of Python. ``asked``: the question of a document, where this
    version does not take it whole."""
    given = asked if question is None else given_fields(question)
    return {
        "command": _command(given),
        "python": _python(given),
        "version": __version__,
        "made": today().isoformat(),
    }


def given_fields(question: Question) -> dict[str, Any]:
    """What was asked beside the defaults, in the order of the fields."""
    return {
        name: value
        for name in Question.model_fields
        if name in question.model_fields_set
        and (value := getattr(question, name)) not in (None, [], {})
    }


def _command(given: Mapping[str, Any]) -> str:
    words = ["planner", "report", *(str(given[name]) for name in ARGUMENTS if name in given)]
    for name, value in given.items():
        if name not in ARGUMENTS:
            words += _flag(name, value)
    return shlex.join([*words, "-o", "budget.html"])


def _flag(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name, off=not value)]
    if name == "strategy":
        return [word for one in value for word in (flag(name), one)]
    return [flag(name), _text(value)]


def _text(value: Any) -> str:
    """As the command line reads it."""
    if isinstance(value, list):
        return ",".join(map(str, value))
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _python(given: Mapping[str, Any]) -> str:
    """``estimate("gpt2", samples=1000)``."""
    parts = [_literal(given["model"])]
    parts += [f"{name}={_literal(value)}" for name, value in given.items() if name != "model"]
    return f"estimate({', '.join(parts)})"


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, datetime.datetime):
        return json.dumps(value.isoformat())
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))
    return repr(value)


def glossary(subject: Subject) -> list[Json]:
    """Words that this report uses, as the table has them."""
    used = _used(subject)
    return [
        {"term": row["term"], "meaning": row["meaning"]}
        for row in tables.rows("glossary.csv")
        if not row["when"] or row["when"] in used
    ]


def _used(subject: Subject) -> set[str]:
    options = subject.options
    used = {f"strategy:{option['strategy']}" for option in options}
    used |= {"trained"} if any(option["run"] for option in options) else set()
    used |= {"text"} if (subject.document["dataset"] or {}).get("modality") == "text" else set()
    used |= {"spot"} if subject.question.get("spot") else set()
    return used | ({"serving"} if subject.question.get("requests_per_month") else set())
