"""``planner explain``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from planner.cli.question_options import question_options
from planner.errors import FieldName, QuestionError
from planner.files import check_place

SUFFIXES = (".html", ".md", ".json", ".csv")


@click.command("explain")
@click.argument("question")
@click.argument("data", required=False)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it to FILE: .html has charts, .md, .json and .csv too.",
)
@click.option(
    "--changes/--no-changes",
    default=True,
    help="Whether each change is asked too; some need the model to be recorded anew.",
)
@question_options
def command(
    question: str,
    data: str | None,
    output: Path | None,
    changes: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Where time and memory of a training step go, and what each change would buy.

    QUESTION is a project.yaml, or a model followed by its data, as of planner estimate; the option
    that it recommends is explained.
    """
    from planner.cli import answering, writing

    _check(output)
    answering.must_name_a_model(question, data, flags)
    document = _document(question, data, flags, changes)
    if output is not None:
        from planner.report.formats.parts.explained import render

        writing.write(output, render(document, output.suffix.lower()))
        writing.wrote(output, as_json, f"wrote {output}")
    elif as_json:
        click.echo(writing.as_json(document))
    else:
        from planner.report.formats.parts.screen import show_parts
        from planner.report.views.explaining.page import parts

        show_parts(parts(document, brief=quiet), sys.stdout)
    return 0


def _document(
    question: str, data: str | None, flags: dict[str, Any], changes: bool
) -> dict[str, Any]:
    from planner.cli.question_options import question_from
    from planner.cli.switches import working

    with working() as progress:
        asked = question_from(question, data, flags)
        from planner.explain.document import explain  # after the question stands

        return explain(asked, progress, changes=changes)


def _check(output: Path | None) -> None:
    """Refused before the work."""
    if output is None:
        return
    if output.suffix.lower() not in SUFFIXES:
        raise QuestionError(
            f"{output.suffix or str(output)!r} is no format of an explanation",
            where=FieldName("output"),
            mend=f"End it in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
        )
    check_place(output)
