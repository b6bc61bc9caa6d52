"""Where terminal output goes: how wide it is, whether it has colours, and what a reader who left
means. User's strings are shown, never interpreted."""

from __future__ import annotations

import os
from typing import NoReturn, TextIO

from rich.console import Console

#: Of a pipe, which has no width of its own: what is piped is the same everywhere. COLUMNS changes
#: it.
PIPED_WIDTH = 100
WIDEST, NARROWEST = 140, 40


class _Console(Console):
    def on_broken_pipe(self) -> NoReturn:
        """The reader left. Rich would leave with exit code 1, which says that a limit is broken:
        the command line's entry knows what to do."""
        raise BrokenPipeError


def console_of(stream: TextIO) -> Console:
    """A console of the stream. Colours on a terminal alone, and not under NO_COLOR; as wide as the
    terminal, or as COLUMNS says."""
    terminal = stream.isatty()
    console = _Console(
        file=stream,
        no_color=None if terminal else True,
        force_terminal=None if terminal else False,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=False,
    )
    console.width = max(NARROWEST, min(_width(console, terminal), WIDEST))
    return console


def _width(console: Console, terminal: bool) -> int:
    asked = os.environ.get("COLUMNS", "")
    if asked.isdecimal() and int(asked) > 0:
        return int(asked)
    return console.width if terminal else PIPED_WIDTH
