"""``planner trace``."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import click

from planner.cli.question_options import question_options
from planner.errors import FieldName, QuestionError
from planner.files import check_place

PLAIN, ZIPPED = ".json", ".json.gz"


@click.command("trace")
@click.argument("question")
@click.argument("data", required=False)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it to FILE: .json, or .json.gz, which Perfetto opens too.",
)
@click.option("--longest", is_flag=True, help="At the longest batch, which memory is of.")
@question_options
def command(
    question: str,
    data: str | None,
    output: Path | None,
    longest: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """One simulated step of the recommended option, for ui.perfetto.dev or chrome://tracing.

    Host and device are rows, forward, backward and optimizer spans, memory is a counter. QUESTION
    is a project.yaml, or a model followed by its data, as of planner estimate.
    """
    from planner.cli import answering, writing
    from planner.cli.question_options import question_from
    from planner.cli.switches import working

    if output is None and not as_json:
        raise click.UsageError("Missing option '-o' / '--output'.", click.get_current_context())
    if output is not None and not output.name.lower().endswith((PLAIN, ZIPPED)):
        raise QuestionError(
            f"{output.name!r} is no trace",
            where=FieldName("output"),
            mend=f"End it in {PLAIN} or {ZIPPED}",
        )
    if output is not None:
        check_place(output)
    answering.must_name_a_model(question, data, flags)
    with working() as progress:
        asked = question_from(question, data, flags)
        from planner.explain.traced import traced  # after the question stands

        document = traced(asked, progress, longest=longest)
    if output is None:
        click.echo(writing.as_json(document))
        return 0
    made = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    is_zipped = output.name.lower().endswith(ZIPPED)
    # without a time the same step makes the same file
    writing.write(output, gzip.compress(made, mtime=0) if is_zipped else made)
    writing.wrote(output, as_json, f"wrote {output}: open it at ui.perfetto.dev")
    return 0
