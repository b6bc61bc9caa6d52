"""``planner estimate``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from planner.cli.output import format_of, output_option, write
from planner.cli.question_options import question_options
from planner.cli.switches import details_option


@click.command("estimate")
@click.argument("model", required=False)
@click.argument("data", required=False)
@question_options
@details_option
@output_option("answer")
def command(
    model: str | None,
    data: str | None,
    output: Path | None,
    details: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """GPU hours, peak memory and dollars of every strategy.

    MODEL is a name, a folder, a config.json, a size such as 7B, or a project.yaml that holds the
    whole question. DATA is a file or folder that is read and counted; or give --samples and
    --tokens-per-sample. DATA alone, without MODEL, prices the models that people take for it.
    """
    from planner.cli import answering

    shown = answering.Shown(as_json, quiet, details, output)
    if data is None and answering.names_no_model(model, flags):
        return answering.show_models_for(model, flags, shown)
    if model is None:
        raise click.UsageError("Missing argument 'MODEL'.", click.get_current_context())
    chosen = format_of(output, "answer")
    document = answering.answer(model, data, flags)
    if output is not None and chosen is not None:
        write(output, chosen, document, as_json=as_json)
    elif as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(document))
    else:
        from planner.report.formats.terminal import show

        show(document, sys.stdout, brief=quiet, whole=details)
    return answering.exit_code(document)
