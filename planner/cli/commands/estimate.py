"""``planner estimate``."""

from __future__ import annotations

import sys
from typing import Any

import click

from planner.cli.question_options import question_options
from planner.cli.switches import details_option


@click.command("estimate")
@click.argument("model", required=False)
@click.argument("data", required=False)
@question_options
@details_option
def command(
    model: str | None, data: str | None, details: bool, as_json: bool, quiet: bool, **flags: Any
) -> int:
    """GPU hours, peak memory and dollars of every strategy.

    MODEL is a name, a folder, a config.json, a size such as 7B, or a project.yaml that holds the
    whole question. DATA is a file or folder that is read and counted; or give --samples and
    --tokens-per-sample. DATA alone, without MODEL, prices the models that people take for it.
    """
    from planner.cli import answering

    if data is None and answering.names_no_model(model, flags):
        return answering.show_models_for(model, flags, as_json=as_json, quiet=quiet, whole=details)
    if model is None:
        raise click.UsageError("Missing argument 'MODEL'.", click.get_current_context())
    document = answering.answer(model, data, flags)
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(document))
    else:
        from planner.report.formats.terminal import show

        show(document, sys.stdout, brief=quiet, whole=details)
    return answering.exit_code(document)
