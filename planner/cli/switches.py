"""What every command has: ``--json``, ``--quiet`` and ``--debug``, from here alone.

They stand before or after a subcommand's name (``planner --quiet prices refresh``). A command takes
``as_json`` or ``quiet`` by naming them among its parameters.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from planner.cli.progress import Progress
from planner.errors import nearest

_KEY = "planner.cli.switches."
DEBUG = "--debug"


def _options() -> list[click.Option]:
    return [
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            help="Print one JSON document on standard output, and nothing else there.",
        ),
        click.Option(
            ["--quiet", "-q", "quiet"],
            is_flag=True,
            help="Only the answer: no progress, no remarks.",
        ),
        click.Option(
            [DEBUG, "debug"], is_flag=True, help="Show the traceback of an unexpected error."
        ),
    ]


class OneOf(click.Choice):
    """One of some names; a misspelt one is guessed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in self.choices:
            return value
        near = nearest(str(value), map(str, self.choices))
        hint = f"Did you mean {' or '.join(near)}? " if near else ""
        self.fail(f"{value!r} is none of {', '.join(map(str, self.choices))}. {hint}", param, ctx)


def details_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--details``, of a command that answers with one screen."""
    return click.option(
        "--details",
        is_flag=True,
        help="All that stands behind the first screen: how the question was understood, memory, "
        "training choices, prices, assumptions and warnings.",
    )(command)


NAMES = tuple(str(option.name) for option in _options())
FLAGS = tuple(name for option in _options() for name in option.opts)


def with_switches(command: click.Command) -> click.Command:
    """The command, which has them from now on; what is there already is left as it is."""
    there = {name for option in command.params for name in option.opts}
    missing = [option for option in _options() if not there & set(option.opts)]
    if missing:
        command.params += missing
        command.callback = _told(command.callback)
    return command


def _told(callback: Callable[..., Any] | None) -> Callable[..., Any] | None:
    if callback is None:
        return None
    taken = inspect.signature(callback).parameters

    @functools.wraps(callback)
    def called(*arguments: Any, **values: Any) -> Any:
        meta = click.get_current_context().meta
        for name in NAMES:
            given = bool(values.pop(name, False)) or is_on(name)
            meta[_KEY + name] = given
            if name in taken:
                values[name] = given
        return callback(*arguments, **values)

    return called


def is_on(name: str) -> bool:
    """Whether ``as_json``, ``quiet`` or ``debug`` was given to the command that runs."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_KEY + name, False))


def working(doing: str = "starting", *, single: bool = False) -> Progress:
    """``with working() as progress: …`` around what may take a while; ``progress`` goes to whoever
    does it. It shows on standard error, and not at all with ``--quiet``."""
    return Progress(sys.stderr, enabled=not is_on("quiet"), single=single, doing=doing)


def remark(line: str, *, err: bool = False) -> None:
    """What is not the answer itself: left out with ``--quiet``, on standard error beside JSON."""
    if not is_on("quiet"):
        click.echo(line, err=err or is_on("as_json"))


def without(arguments: Sequence[str]) -> list[str]:
    """Arguments without the switches at their beginning."""
    first = next((i for i, a in enumerate(arguments) if a not in FLAGS), len(arguments))
    return list(arguments[first:])
