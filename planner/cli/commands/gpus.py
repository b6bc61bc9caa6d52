"""``planner gpus``."""

from __future__ import annotations

import sys

import click


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
        terminal.show_table("GPUs", catalogue_view.gpu_table(known), sys.stdout)
