"""What a field of the question allows, for flags, forms and files; and how what it does not allow
is refused: in one line that names the field, the value and what was perhaps meant."""

from __future__ import annotations

import reprlib
import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, ErrorDetails, core_schema

from planner.errors import FieldName, PlannerError, QuestionError, UnknownNameError, nearest

#: What pydantic's errors mean, by their type.
COMPLAINTS = {
    "literal_error": "is not allowed",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be greater than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "bool_parsing": "is not yes or no",
    "bool_type": "is not yes or no",
    "string_type": "is not text (put it in quotes)",
    "list_type": "is not a list",
}


class OneOf:
    """Marks a text field that allows certain names, where they are found and not written down:
    ``Annotated[str, OneOf(names)]`` behaves as ``Literal`` of the names does. ``refused``: names
    that exist elsewhere, with why they are not allowed here."""

    def __init__(self, names: Iterable[str], refused: Mapping[str, str] | None = None):
        self.names = tuple(names)
        self.refused = dict(refused or {})

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> CoreSchema:
        return core_schema.literal_schema(list(self.names))


def choices(annotation: Any) -> list[str]:
    """The strings that a field allows, also inside ``list[…]`` and ``… | None``; empty where
    anything goes."""
    if isinstance(annotation, OneOf):
        return list(annotation.names)
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for part in get_args(annotation) for value in choices(part)]


def _reason(annotation: Any, value: Any) -> str | None:
    """Why a name that exists elsewhere is not allowed; None for any other."""
    if isinstance(annotation, OneOf):
        return annotation.refused.get(str(value).lower())
    found = (_reason(part, value) for part in get_args(annotation))
    return next((reason for reason in found if reason is not None), None)


def plain_types(annotation: Any) -> set[type]:
    """The plain types in an annotation, without None."""
    if get_origin(annotation) in (Union, types.UnionType):
        return set[type]().union(*(plain_types(part) for part in get_args(annotation)))
    return set() if annotation is type(None) else {get_origin(annotation) or annotation}


#: How many allowed names an error lists.
MOST_SHOWN = 24


@dataclass(frozen=True)
class Places:
    """Where the values of a question were given: ``where`` by field, a field's own name by default;
    ``whole``: of what no single field is to blame for; ``missing``: where a field is missing."""

    where: Mapping[str, FieldName] = field(default_factory=dict[str, FieldName])
    whole: str | None = None
    missing: str | None = None


def place(name: str, where: Mapping[str, FieldName]) -> FieldName:
    return where.get(name) or FieldName(name, text=name)


def refuse_truths(
    values: Mapping[str, Any], fields: Mapping[str, FieldInfo], places: Places
) -> None:
    """Raises QuestionError where a number is yes or no: Python counts them as 1 and 0."""
    for name, value in values.items():
        types = plain_types(fields[name].annotation) if name in fields else set[type]()
        if isinstance(value, bool) and types & {int, float} and bool not in types:
            raise QuestionError(
                f"{'yes' if value else 'no'} is not a number", where=place(name, places.where)
            )


def refusal(error: ErrorDetails, fields: Mapping[str, FieldInfo], places: Places) -> PlannerError:
    """One pydantic error as what, where, how to mend it."""
    if not error["loc"]:
        return QuestionError(error["msg"].removeprefix("Value error, "), where=places.whole)
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return UnknownNameError("field", name, fields)
    if error["type"] == "missing":
        where = FieldName(name, text=places.missing or name)
        return QuestionError(f"the key {name!r} is missing", where=where)
    shown = reprlib.repr(error["input"])
    where = place(name, places.where)
    reason = _reason(fields[name].annotation, error["input"]) if name in fields else None
    if reason is not None:
        return QuestionError(f"{shown} is not planned: {reason}", where=where)
    mend = _mend(fields.get(name), error["input"])
    return QuestionError(f"{shown} {_complaint(error)}", where=where, mend=mend)


def _mend(info: FieldInfo | None, value: Any) -> str | None:
    """What a field allows, the nearest first; None where anything goes."""
    allowed = choices(info.annotation) if info is not None else []
    if not allowed:
        return None
    near = nearest(value, allowed) if isinstance(value, str) else []
    more = len(allowed) - MOST_SHOWN
    known = f"Allowed: {', '.join(allowed if more <= 1 else allowed[:MOST_SHOWN])}"
    known += f" and {more} more, which planner schema question lists" if more > 1 else ""
    return f"Did you mean {' or '.join(near)}? {known}" if near else known


def _complaint(error: ErrorDetails) -> str:
    if error["type"] in COMPLAINTS:
        return COMPLAINTS[error["type"]].format(**error.get("ctx", {}))
    return "is refused: " + error["msg"].removeprefix("Value error, ").removeprefix("Input ")
