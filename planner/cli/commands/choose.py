"""``planner choose``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from planner.cli.output import format_of, output_option, write
from planner.cli.question_options import question_options
from planner.cli.switches import details_option

LIMIT_BROKEN = 1


@click.command("choose")
@click.argument("model", required=False)
@click.argument("data", required=False)
@question_options
@click.option(
    "--everywhere",
    is_flag=True,
    help="Also the strategy on every GPU at every provider, with the age of each price.",
)
@click.option(
    "--up-to",
    type=click.IntRange(1, 100_000),
    metavar="GPUS",
    help="Counts of GPUs up to so many, copies and shared state beside each other, with what more "
    "of them buy.",
)
@details_option
@output_option("choice")
def command(
    model: str | None,
    data: str | None,
    everywhere: bool,
    up_to: int | None,
    output: Path | None,
    details: bool,
    as_json: bool,
    quiet: bool,
    **flags,
) -> int:
    """What to rent and which way to go: the cheapest that keeps your limits, among strategies,
    GPUs, counts and providers.

    Limits: --max-usd, --max-hours, --deadline, --gpu, --gpus, --provider, --region, --spot,
    --licences, --data-must-stay. MODEL and DATA are those of planner estimate. With no --gpus, 1,
    2, 4 and 8 GPUs are looked at; --up-to 1024 looks at more. DATA alone, without MODEL, prices the
    models that people take for it.
    """
    from planner.cli import answering

    shown = answering.Shown(as_json, quiet, details, output)
    if data is None and answering.names_no_model(model, flags):
        return answering.show_models_for(model, flags, shown)
    if model is None:
        raise click.UsageError("Missing argument 'MODEL'.", click.get_current_context())
    from planner.cli.main import printable
    from planner.cli.question_options import question_from
    from planner.cli.switches import working

    chosen = format_of(output, "choice")
    with working() as progress:
        question = question_from(model, data, flags)
        from planner.choose.decision import decide  # after the question stands
        from planner.choose.document import broken

        document = decide(question, progress, everywhere=everywhere, up_to=up_to)
    if output is not None and chosen is not None:
        write(output, chosen, document, as_json=as_json)
    elif as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(document))
    else:
        from planner.report.formats.terminal import show_choice

        show_choice(document, sys.stdout, brief=quiet, whole=details)
    for line in broken(document):
        click.echo(f"planner: {printable(line)}", err=True)
    return LIMIT_BROKEN if broken(document) else 0
