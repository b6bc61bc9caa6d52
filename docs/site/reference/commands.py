"""Every command as its ``--help`` has it."""

from __future__ import annotations

import click

from reference.markdown import page, plain

WIDTH = 88


def page_of(name: str, command: click.Command, parent: click.Context) -> str:
    """A command, and below it its own."""
    context = click.Context(command, info_name=name, parent=parent, max_content_width=WIDTH)
    context.terminal_width = WIDTH
    found = [f"## {context.command_path}", "```text", command.get_help(context), "```"]
    text = "\n".join(found)
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            below = command.get_command(context, inner)
            if below is not None and not below.hidden:
                text += "\n\n" + page_of(inner, below, context)
    return text


def made() -> str:
    from planner.cli.main import COMMANDS, cli

    top = click.Context(cli, info_name="planner", max_content_width=WIDTH)
    index = "\n".join(
        f"- [`planner {name}`](#planner-{name}): {plain(words)}"
        for name, (_, words) in COMMANDS.items()
    )
    parts = [
        page_of(name, command, top)
        for name in cli.list_commands(top)
        if (command := cli.get_command(top, name)) is not None
    ]
    return page("Commands", index, *parts)
