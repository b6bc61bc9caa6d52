"""What ``estimate``, ``choose`` and ``report`` share: get the document, say what is broken, choose
the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from planner.errors import QuestionError
from planner.files import loads, read_text

LIMIT_BROKEN = 1


def answer(model: str, data: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """Ask the planner. Progress shows on standard error. Raises PlannerError."""
    from planner.cli.question_options import question_from
    from planner.cli.switches import working

    with working() as progress:
        question = question_from(model, data, flags)
        # after the question stands: a wrong one is refused before the planner is loaded
        from planner.answer.estimate import estimate

        return estimate(question, progress=progress)


def budget(model: str, data: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """As ``answer``, with the part ``budget`` that reports show. Raises PlannerError."""
    from planner.cli.question_options import question_from
    from planner.cli.switches import working

    with working() as progress:
        question = question_from(model, data, flags)
        from planner.budget.make import budget as made

        return made(question, progress)


def budget_of_answer(path: Path) -> dict[str, Any]:
    """The report of an answer's file; one that holds a report already is taken as it is. Raises
    QuestionError as ``read_answer``."""
    from planner.cli.switches import working

    document = read_answer(path)
    if "budget" in document:
        return document
    with working() as progress:
        from planner.budget.make import budget_of_answer as made

        return made(document, progress)


def names_no_model(model: str | None, flags: Mapping[str, Any]) -> bool:
    """Whether data stands in the place of the model, or only counts are given."""
    if model is None:
        return bool(flags.get("samples"))
    from planner.question.parsing import is_file

    if is_file(model):
        return False
    if not os.path.exists(os.path.expanduser(model)):
        return False  # and the readers of data stay unread
    from planner.choose.for_data import is_data

    return is_data(model)


def must_name_a_model(model: str, data: str | None, flags: Mapping[str, Any]) -> None:
    """Of commands about one model. Raises QuestionError where data stands in its place."""
    if data is None and names_no_model(model, flags):
        raise QuestionError(
            "is data, and no model is named",
            where=model,
            mend="Name a model before it; planner estimate with the data alone prices the models "
            "that people take for it",
        )


def models_for(data: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The models that people take for the data. Raises PlannerError."""
    from planner.choose.for_data import models_for as priced
    from planner.cli.question_options import question_from
    from planner.cli.switches import working

    question = question_from("any", data, flags)
    with working() as progress:
        return priced(question, progress)


@dataclass(frozen=True)
class Shown:
    """How an answer is to be given: ``whole`` as with --details, ``output`` as with -o."""

    as_json: bool
    quiet: bool
    whole: bool
    output: Path | None = None


def show_models_for(data: str | None, flags: Mapping[str, Any], shown: Shown) -> int:
    """Data without a model: one row a model that people take for it. Raises PlannerError."""
    from planner.cli.output import format_of, write

    chosen = format_of(shown.output, "models")
    document = models_for(data, flags)
    if shown.output is not None and chosen is not None:
        write(shown.output, chosen, document, as_json=shown.as_json)
    elif shown.as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(document))
    else:
        from planner.report.formats.terminal import show_models

        show_models(document, sys.stdout, brief=shown.quiet, whole=shown.whole)
    return 0


def read_answer(path: Path) -> dict[str, Any]:
    """A document that ``planner estimate --json`` wrote. Raises QuestionError naming the first key
    that is wrong."""
    from pydantic import ValidationError

    from planner.answer.schema import Answer

    try:
        document = loads(read_text(path))
        Answer.model_validate(document)
        if "budget" in document:
            from planner.budget.schema import validated

            validated(document)
        return document
    except FileNotFoundError:
        raise QuestionError(
            "no such answer file",
            where=str(path),
            mend="planner estimate … --json > answer.json writes one",
        ) from None
    except OSError as error:
        raise QuestionError(f"cannot be read: {error.strerror}", where=str(path)) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise QuestionError(
            f"not an answer of this version: {place}: {first['msg']}", where=str(path)
        ) from None
    except (ValueError, RecursionError) as error:
        raise QuestionError(f"not JSON: {error}", where=str(path)) from None


def exit_code(document: Mapping[str, Any]) -> int:
    """0, or 1 with one line a broken limit on standard error."""
    from planner.answer.limits import broken_limits
    from planner.cli.main import printable

    broken = broken_limits(document)
    for line in broken:
        click.echo(f"planner: {printable(line)}", err=True)
    return LIMIT_BROKEN if broken else 0
