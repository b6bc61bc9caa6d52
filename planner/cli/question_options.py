"""From flags and ``project.yaml`` to a Question: the options are made from the question's own
fields, so that names, help and defaults cannot drift apart, and every refusal names the flag or the
key, the value and what is allowed."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from planner.errors import QuestionError, nearest
from planner.question import Question
from planner.question.fields import choices, plain_types
from planner.units import parse_count

#: Given as arguments, not as flags.
ARGUMENTS = ("model", "data")
#: Keys whose relative paths in a project file start from the file's folder.
PATHS = ("model", "data", "gpu", "teacher")
PROJECT_SUFFIXES = (".yaml", ".yml")


def question_options(command: Callable) -> Callable:
    """Decorate a click command with one option for each field of the question."""
    for name, info in reversed(Question.model_fields.items()):
        if name not in ARGUMENTS:
            command = _option(name, info)(command)
    return command


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _option(name: str, info: FieldInfo) -> Callable:
    kind = plain_types(info.annotation)
    if bool in kind:
        return click.option(
            f"{flag(name)}/--no-{name.replace('_', '-')}",
            name,
            default=None,
            help=_help(name, info),
        )
    metavar = (
        "NAME" if choices(info.annotation) else {int: "N", float: "X"}.get(next(iter(kind)), "TEXT")
    )
    return click.option(
        flag(name),
        name,
        default=None,
        multiple=name == "strategy",
        metavar=metavar,
        help=_help(name, info),
    )


def _help(name: str, info: FieldInfo) -> str:
    text = info.description or name.replace("_", " ").capitalize()
    if name == "strategy":
        text += "; may be given several times"
    if choices(info.annotation):
        text += f": {', '.join(choices(info.annotation))}"
    shown = "" if info.default in (None, False) else f" [default: {info.default}]"
    return f"{text}.{shown}"


def question_from(model: str, data: str | None, flags: Mapping[str, Any]) -> Question:
    """The question that arguments and flags ask. A ``model`` that ends in .yaml or .yml is a
    project file, and flags win over its keys. Raises QuestionError."""
    given = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in flags.items()
        if value not in (None, ())
    }
    where = {name: flag(name) for name in given}
    if Path(model).suffix.lower() in PROJECT_SUFFIXES:
        # and with it yaml: only where there is a file to read
        from planner.question import project_file

        keys, where_keys = project_file.read(Path(model), Question.model_fields)
        values, where = _from_folder(keys, Path(model).parent) | given, where_keys | where
        if "samples" in given:
            values.pop("data", None)
    else:
        values, where = {"model": model, **given}, {"model": "MODEL", **where}
    if data is not None:
        values["data"], where["data"] = data, "DATA"
        if "samples" not in given:
            values.pop("samples", None)
    return _validated(values, where, model)


def _from_folder(keys: dict[str, Any], folder: Path) -> dict[str, Any]:
    moved = {
        k: str(folder / v)
        for k, v in keys.items()
        if k in PATHS and isinstance(v, str) and _exists(folder / v)
    }
    return keys | moved


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _validated(values: dict[str, Any], where: Mapping[str, str], asked: str) -> Question:
    values = {name: _number(name, value, where.get(name, name)) for name, value in values.items()}
    try:
        return Question(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise _refusal(first, where, asked) from None


def _number(name: str, value: Any, where: str) -> Any:
    """``20k`` samples are 20000; what is not a number is left for the question to refuse."""
    info = Question.model_fields[name]
    if (
        isinstance(value, str)
        and plain_types(info.annotation) & {int, float}
        and value.strip()[-1:].lower() in ("k", "m", "b", "t")
    ):
        try:
            return parse_count(value)
        except QuestionError as error:
            raise QuestionError(str(error), where=where) from None
    return value


def _refusal(error: Mapping[str, Any], where: Mapping[str, str], asked: str) -> QuestionError:
    """One pydantic error as what, where, how to mend it."""
    if not error["loc"]:
        return QuestionError(
            error["msg"].removeprefix("Value error, "), where=asked if _is_project(asked) else None
        )
    name = str(error["loc"][0])
    if error["type"] == "missing":
        return QuestionError(f"the key {name!r} is missing", where=asked)
    shown = reprlib.repr(error["input"])
    allowed = (
        choices(Question.model_fields[name].annotation) if name in Question.model_fields else []
    )
    mend = f"Allowed: {', '.join(allowed)}" if allowed else None
    near = (
        nearest(str(error["input"]), allowed) if allowed and isinstance(error["input"], str) else []
    )
    if near:
        mend = f"Did you mean {' or '.join(near)}? {mend}"
    return QuestionError(f"{shown} {_complaint(error)}", where=where.get(name, name), mend=mend)


def _is_project(asked: str) -> bool:
    return Path(asked).suffix.lower() in PROJECT_SUFFIXES


def _complaint(error: Mapping[str, Any]) -> str:
    context, kind = error.get("ctx", {}), error["type"]
    known = {
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
        "bool_parsing": "is not yes or no",
        "bool_type": "is not yes or no",
        "string_type": "is not text (put it in quotes)",
        "list_type": "is not a list",
    }
    if kind in known:
        return known[kind].format(**context)
    return "is refused: " + error["msg"].removeprefix("Value error, ").removeprefix("Input ")
