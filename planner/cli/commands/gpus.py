"""``planner gpus``."""

from __future__ import annotations

import sys

import click

#: Columns that a narrow screen has no room for, the first to go first.
DROPPED = ("fp32 TFLOP/s", "GB/s", "bf16/fp16 TFLOP/s", "GPU")


@click.command("gpus")
@click.option("--like", metavar="TEXT", help="Only names that contain this.")
def command(as_json: bool, like: str | None) -> None:
    """List the known GPUs with their memory, peak rates and the range of their prices."""
    from planner.report.formats import terminal
    from planner.report.views import catalogue as catalogue_view

    known = catalogue_view.gpus(like)
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json({"gpus": known}))
    else:
        table = catalogue_view.gpu_table(known)
        terminal.show_table("GPUs", table, sys.stdout, whole=(1,), drop=DROPPED)
