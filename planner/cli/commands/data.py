"""``planner data``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from planner.cli.output import format_of, output_option, write
from planner.cli.question_options import question_from, some_options

FIELDS = (
    *("task", "text_columns", "classes", "max_length", "micro_batch", "image_size"),
    *("offline", "trust_remote_code"),
)


@click.command("data")
@click.argument("file")
@click.option(
    "--model",
    metavar="MODEL",
    help="As this model reads it: its task, chat template, tokenizer and length.",
)
@some_options(*FIELDS)
@output_option("data")
def command(
    file: str, model: str | None, output: Path | None, as_json: bool, quiet: bool, **flags: Any
) -> None:
    """What was understood of a dataset: its columns, three records as they will be trained, its
    lengths, and what is cut, padded and packed.

    FILE is a file or folder. Parts that the loss is taken on are green, or stand in [[ ]] where
    there are no colours.
    """
    from planner.answer.data.document import ANY_MODEL, describe_data
    from planner.cli.switches import working

    chosen = format_of(output, "data")
    question = question_from(model or ANY_MODEL, file, flags)
    with working() as progress:
        document = describe_data(question, progress=progress)
    if output is not None and chosen is not None:
        write(output, chosen, document, as_json=as_json)
    elif as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(document))
    else:
        from planner.report.formats.terminal import show_data

        show_data(document, sys.stdout, brief=quiet)
