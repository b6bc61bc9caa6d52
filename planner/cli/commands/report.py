"""``planner report``."""

from __future__ import annotations

from pathlib import Path

import click

from planner.cli.question_options import question_options
from planner.errors import FieldName, QuestionError
from planner.files import check_place
from planner.report.formats.registry import format_for, formats_of

*_others, _last = (f"budget{suffix}" for suffix in formats_of("answer"))
EXAMPLES = f"{', '.join(_others)} or {_last}"


@click.command("report")
@click.argument("question")
@click.argument("data", required=False)
@click.option("--output", "-o", required=True, metavar="FILE", help=f"{EXAMPLES}.")
@question_options
def command(question: str, data: str | None, output: str, as_json: bool, **flags) -> int:
    """Write a budget report.

    QUESTION is a project.yaml, an answer that `planner estimate --json` wrote (.json), or a model
    followed by its data. FILE.json holds all of it: the answer with its budget.
    """
    from planner.cli import answering, writing

    target = Path(output)
    chosen = format_for(target, "answer")
    if chosen is None:
        raise QuestionError(
            f"{target.suffix or output!r} is no report format",
            where=FieldName("output"),
            mend=f"End it in {' or '.join(formats_of('answer'))}",
        )
    check_place(target)
    document = _document(question, data, flags)
    writing.write(target, chosen.render(document))
    writing.wrote(target, as_json, f"wrote {target}")
    return answering.exit_code(document)


def _document(question: str, data: str | None, flags: dict) -> dict:
    from planner.cli import answering

    if not (question.lower().endswith(".json") and Path(question).name != "config.json"):
        answering.must_name_a_model(question, data, flags)
        return answering.budget(question, data, flags)
    if given := [name for name, value in flags.items() if value not in (None, ())] + (
        [] if data is None else ["data"]
    ):
        raise QuestionError(
            f"an answer that is already made takes no {given[0]}",
            where=question,
            mend="Ask again with planner estimate",
        )
    return answering.budget_of_answer(Path(question))
