"""``planner mcp``."""

from __future__ import annotations

import click


@click.command("mcp")
@click.option(
    "--online/--offline",
    default=False,
    help="Whether the configs of models that are not known here may be fetched from their hub.",
)
def command(online: bool) -> int:
    """Tools for coding assistants, over standard input and output (Model Context Protocol).

    A client is told the command: planner mcp. Its tools are estimate, choose, where_it_goes,
    list_models and list_gpus; they take names and numbers and read no file.
    """
    from planner.serve.extras import needed

    needed("mcp", "planner mcp")
    from planner.serve.tools.server import run

    run(online=online)
    return 0
