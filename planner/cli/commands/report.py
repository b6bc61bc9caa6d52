"""``planner report``."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.question_options import question_options
from planner.errors import QuestionError

FORMATS = (".md", ".html", ".json")


@click.command("report")
@click.argument("question")
@click.argument("data", required=False)
@click.option(
    "--output", "-o", required=True, metavar="FILE", help="budget.md, budget.html or budget.json."
)
@question_options
@click.option("--quiet", "-q", is_flag=True, help="No progress and no closing line.")
def command(question: str, data: str | None, output: str, quiet: bool, **flags) -> int:
    """Write a budget report.

    QUESTION is a project.yaml, an answer that `planner estimate --json` wrote (.json), or a model
    followed by its data.
    """
    from planner.cli import answering, writing

    target = Path(output)
    if target.suffix.lower() not in FORMATS:
        raise QuestionError(
            f"{target.suffix or output!r} is no report format",
            where="--output",
            mend=f"End it in {' or '.join(FORMATS)}",
        )
    document = _document(question, data, flags, quiet)
    writing.write_text(target, _rendered(document, target.suffix.lower()))
    if not quiet:
        click.echo(f"wrote {target}")
    return answering.exit_code(document)


def _document(question: str, data: str | None, flags: dict, quiet: bool) -> dict:
    from planner.cli import answering

    if not (question.lower().endswith(".json") and Path(question).name != "config.json"):
        return answering.answer(question, data, flags, quiet=quiet)
    if given := [name for name, value in flags.items() if value not in (None, ())] + (
        [] if data is None else ["data"]
    ):
        raise QuestionError(
            f"an answer that is already made takes no {given[0]}",
            where=question,
            mend="Ask again with planner estimate",
        )
    return answering.read_answer(Path(question))


def _rendered(document: dict, suffix: str) -> str:
    if suffix == ".json":
        from planner.cli.writing import as_json

        return as_json(document) + "\n"
    if suffix == ".md":
        from planner.report.formats.markdown import markdown

        return markdown(document)
    from planner.report.formats.html import html

    return html(document)
