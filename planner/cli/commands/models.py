"""``planner models``."""

from __future__ import annotations

import sys

import click

from planner.cli.switches import remark


@click.command("models")
@click.option("--like", metavar="TEXT", help="Only names that contain this.")
def command(as_json: bool, like: str | None) -> None:
    """List the models that are answered without a download."""
    from planner.report.formats import terminal
    from planner.report.views import catalogue as catalogue_view

    known = catalogue_view.models(like)
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json({"models": known}))
    else:
        terminal.show_table("Models", catalogue_view.model_table(known), sys.stdout)
        remark(
            "Also: a folder, a config.json, a hub id, timm:NAME, torchvision:NAME, "
            "package.module:function, a size such as 7B."
        )
