"""Names that a shell completes: wherever a parameter of any command is called so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import MethodType

import click
from click.shell_completion import CompletionItem

from planner.question import Question
from planner.question.fields import choices

#: Parameters that are a model's name or a file.
MODELS = ("model", "question", "a", "b", "teacher", "embedding_model")


def _models() -> Iterable[str]:
    from planner import tables

    return [row["name"] for row in tables.rows("models", "catalogue.csv")]


def _gpus() -> Iterable[str]:
    from planner import tables

    return ["local", *(row["key"] for row in tables.rows("gpus", "gpus.csv"))]


def _providers() -> Iterable[str]:
    from planner.cost.prices.tables import providers

    return providers()


def _regions() -> Iterable[str]:
    from planner.cost.prices.tables import price_rows

    return sorted({row["region"] for row in price_rows()} - {"any"})


def _stacks() -> Iterable[str]:
    from planner.question.stack import trainers

    return trainers()


#: parameter → all names that it may have.
NAMES: dict[str, Callable[[], Iterable[str]]] = {
    **dict.fromkeys(MODELS, _models),
    "gpu": _gpus,
    "provider": _providers,
    "region": _regions,
    "stack": _stacks,
}


def names_of(parameter: str) -> list[str]:
    """What a parameter may be called; empty where anything goes."""
    if parameter in NAMES:
        return list(NAMES[parameter]())
    field = Question.model_fields.get(parameter)
    return choices(field.annotation) if field is not None else []


def with_completion(command: click.Command) -> click.Command:
    """The command, whose names a shell completes; arguments are files, too."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            with_completion(one)
    for each in command.params:
        known = str(each.name) in (*NAMES, *Question.model_fields)
        if known or isinstance(each, click.Argument):
            # one place for all commands, whoever declares the parameter
            vars(each)["shell_complete"] = MethodType(_complete, each)
    return command


def _complete(
    parameter: click.Parameter, context: click.Context, incomplete: str
) -> list[CompletionItem]:
    start = incomplete.lower()
    found = [
        CompletionItem(name)
        for name in names_of(str(parameter.name))
        if name.lower().startswith(start)
    ]
    if not found:
        found = parameter.type.shell_complete(context, parameter, incomplete)
    if isinstance(parameter, click.Argument) and not isinstance(parameter.type, click.Choice):
        found.append(CompletionItem(incomplete, type="file"))
    return found
