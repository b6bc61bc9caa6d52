"""``planner completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from planner.cli.switches import OneOf

SHELLS = ("bash", "zsh", "fish")
#: How click asks the program for completions.
VARIABLE = "_PLANNER_COMPLETE"


@click.command("completion")
@click.argument("shell", type=OneOf(SHELLS))
def command(shell: str, as_json: bool) -> None:
    """Print what makes SHELL complete commands, flags, and the names of models, GPUs, providers
    and strategies."""
    from planner.cli.main import cli

    found = get_completion_class(shell)
    assert found is not None, shell
    script = found(cli, {}, "planner", VARIABLE).source()
    if as_json:
        from planner.cli.writing import as_json as to_json

        script = to_json({"schema": 1, "shell": shell, "script": script})
    click.echo(script)
