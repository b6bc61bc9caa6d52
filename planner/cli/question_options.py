"""The options of a command, made from the question's own fields, so that names, help and defaults
cannot drift apart; what was given goes to ``question.parsing``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click
from pydantic.fields import FieldInfo

from planner.errors import FieldName, QuestionError, flag
from planner.question import Question
from planner.question.fields import choices, plain_types
from planner.question.parsing import is_file
from planner.question.parsing import question_and_file as parsed

if TYPE_CHECKING:
    from planner.question.files.of_file import FileQuestion

#: Given as arguments, not as flags: field → how the help calls it.
ARGUMENTS = {"model": "MODEL", "data": "DATA"}
METAVARS = {int: "N", float: "X"}


def question_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a click command with one option for each field of the question, and with those that
    go with a file of another tool."""
    command = click.option(
        "--beside",
        multiple=True,
        metavar="FILE",
        help="With a training's own file: settings that lie in another, such as accelerate's or "
        "DeepSpeed's; may be given several times.",
    )(command)
    command = click.option(
        "--model", "named_model", metavar="NAME", help="Model of a file that names none."
    )(command)
    for name, info in reversed(Question.model_fields.items()):
        if name not in ARGUMENTS:
            command = _option(name, info)(command)
    return command


def some_options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """As ``question_options``, for a command that reads some fields only."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names):
            command = _option(name, Question.model_fields[name])(command)
        return command

    return decorate


def _option(name: str, info: FieldInfo) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    types = plain_types(info.annotation)
    if bool in types:
        both = f"{flag(name)}/{flag(name, off=True)}"
        return click.option(both, name, default=None, help=_help(name, info))
    named = bool(choices(info.annotation))
    return click.option(
        flag(name),
        name,
        default=None,
        multiple=True,  # so that a flag given twice is seen, and never the last one alone taken
        metavar="NAME" if named else METAVARS.get(next(iter(types)), "TEXT"),
        help=_help(name, info),
    )


def _help(name: str, info: FieldInfo) -> str:
    text = info.description or name.replace("_", " ").capitalize()
    if _is_list(info):
        text += "; may be given several times"
    if choices(info.annotation):
        text += f": {', '.join(choices(info.annotation))}"
    shown = "" if info.default in (None, False) else f" [default: {info.default}]"
    return f"{text}.{shown}"


def _is_list(info: FieldInfo) -> bool:
    return list in plain_types(info.annotation)


def _once(name: str, value: Any) -> Any:
    """A flag's texts as a field takes them: those of a list one after the other. Raises
    QuestionError for one that is given twice with different values."""
    if not isinstance(value, tuple):
        return value
    texts: tuple[str, ...] = value
    if name == "strategy":
        return [one.strip() for text in texts for one in text.split(",")]
    if _is_list(Question.model_fields[name]):
        return ",".join(texts)
    if len(set(texts)) > 1:
        raise QuestionError(
            f"given {len(texts)} times, as {' and '.join(texts)}",
            where=FieldName(name),
            mend="Give it once",
        )
    return texts[0]


def question_from(model: str, data: str | None, flags: Mapping[str, Any]) -> Question:
    """The question that arguments and flags ask. Raises QuestionError."""
    return question_and_file(model, data, flags)[0]


def question_and_file(
    model: str, data: str | None, flags: Mapping[str, Any]
) -> tuple[Question, FileQuestion | None]:
    """As ``question_from``, with what the file says that stands in the place of the model."""
    given: dict[str, Any] = {
        name: value for name, value in flags.items() if value not in (None, ())
    }
    beside, named = given.pop("beside", ()), given.pop("named_model", None)
    given = {name: _once(name, value) for name, value in given.items()}
    places = dict(ARGUMENTS)
    if named is not None:
        if not is_file(model):
            raise QuestionError(
                f"{model} is a model already", where=FieldName("model"), mend="Name one of them"
            )
        given["model"], places["model"] = named, flag("model")
    return parsed(model, data, given, places=places, beside=beside)
