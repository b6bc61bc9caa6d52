"""``-o FILE``, of every command that answers with a document: its suffix says how it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from planner.errors import FieldName, QuestionError, nearest
from planner.files import check_place
from planner.report.formats.registry import Format, Written, formats_of


class _Output(click.Option):
    """Formats are looked for only where the help is read or one is asked for."""

    def __init__(self, written: Written) -> None:
        super().__init__(
            ["--output", "-o", "output"],
            type=click.Path(path_type=Path, dir_okay=False),
            metavar="FILE",
        )
        self.written: Written = written

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        self.help = f"Write all of it to FILE: {_listed(self.written)}."
        return super().get_help_record(ctx)


def output_option(written: Written) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a command that takes ``output: Path | None``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        declared = getattr(command, "__click_params__", [])
        vars(command)["__click_params__"] = [*declared, _Output(written)]
        return command

    return decorate


def format_of(output: Path | None, written: Written) -> Format | None:
    """The format of a file, asked before the work is done; None where nothing is written. Raises
    QuestionError for a suffix that none has."""
    if output is None:
        return None
    known = formats_of(written)
    if output.suffix.lower() in known:
        check_place(output)
        return known[output.suffix.lower()]
    near = nearest(output.suffix, known, count=1) if output.suffix else []
    hint = f"Did you mean {near[0]}? " if near else ""
    raise QuestionError(
        f"{output.suffix or str(output)!r} is no format of this",
        where=FieldName("output"),
        mend=f"{hint}End it in {_listed(written)}",
    )


def write(output: Path, chosen: Format, document: Any, *, as_json: bool) -> None:
    """Write the document and say so. Raises QuestionError and MachineError."""
    from planner.cli import writing

    writing.write(output, chosen.render(document))
    writing.wrote(output, as_json, f"wrote {output}")


def _listed(written: Written) -> str:
    *others, last = formats_of(written)
    return f"{', '.join(others)} or {last}" if others else last
