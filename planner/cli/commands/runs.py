"""``planner runs``: the ledger of measured runs."""

from __future__ import annotations

import importlib
import shlex
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import click

from planner.cli.switches import remark, with_switches, without, working
from planner.errors import QuestionError, UnknownNameError, nearest

FILE = click.Path(path_type=Path)
SHOWN = 50
#: subcommand → (module, attribute, one line of help). Listing them imports none.
SUBCOMMANDS = {
    "list": (
        "planner.cli.commands.runs",
        "list_command",
        "List the runs, newest first; what `planner runs` alone does.",
    ),
    "show": ("planner.cli.commands.runs", "show_command", "All that is known of one run."),
    "export": (
        "planner.cli.commands.runs",
        "export_command",
        "Write the runs to FILE.csv, FILE.parquet or FILE.json.",
    ),
    "import": (
        "planner.cli.commands.runs_import",
        "import_command",
        "Take past runs over, out of the logs of trainers and trackers.",
    ),
    "merge": ("planner.cli.commands.runs", "merge_command", "Take over a colleague's ledger."),
    "rescue": (
        "planner.cli.commands.runs",
        "rescue_command",
        "Save what can be read of a damaged ledger.",
    ),
}


class RunsGroup(click.Group):
    """Without a subcommand: the list, with its flags."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUBCOMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in SUBCOMMANDS:
            return None
        module, attribute, _ = SUBCOMMANDS[name]
        return with_switches(getattr(importlib.import_module(module), attribute))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        first = next(iter(without(args)), "-")
        if first.startswith("-") and first not in ctx.help_option_names:
            args = ["list", *args]
        elif first not in SUBCOMMANDS and not first.startswith("-"):
            near = nearest(first, SUBCOMMANDS)
            raise click.UsageError(
                f"no such command {first!r}. "
                + (
                    f"Did you mean {' or '.join(near)}?"
                    if near
                    else f"Commands: {', '.join(SUBCOMMANDS)}"
                ),
                ctx,
            )
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, _, text) in SUBCOMMANDS.items()])


@click.group("runs", cls=RunsGroup)
def command() -> None:
    """Real runs that were measured, with what had been estimated for them.

    \b
    planner runs --model llama --since 2026-01-01
    planner runs show 3f2a
    planner runs export runs.csv --gpu h100
    """


def ledger_option(function: Callable) -> Callable:
    """``--ledger FILE``, as the argument ``ledger``."""
    return click.option(
        "--ledger",
        type=FILE,
        metavar="FILE",
        help="Another ledger than yours (PLANNER_LEDGER names yours too).",
    )(function)


#: Columns that a narrow screen has no room for, the first to go first.
DROPPED = ("Kind", "When", "Memory", "Device", "Strategy")


def _filters(function: Callable) -> Callable:
    options = (
        ("--model", "TEXT", "Only models whose name contains this."),
        ("--gpu", "TEXT", "Only devices whose name contains this."),
        ("--strategy", "NAME", "Only this strategy."),
        ("--kind", "measured|recorded|imported", "Only runs of this kind."),
        ("--since", "DATE", "Only runs from this date or moment on (UTC)."),
    )
    for name, metavar, text in reversed(options):
        function = click.option(name, metavar=metavar, help=text)(function)
    return ledger_option(function)


@click.command("list")
@_filters
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"At most this many, the newest. [default: {SHOWN} in the table, all as JSON]",
)
def list_command(ledger: Path | None, limit: int | None, as_json: bool, **filters: Any) -> None:
    """List the runs, newest first."""
    shown = limit or (None if as_json else SHOWN)
    runs = _runs(ledger, newest_first=True, limit=None if shown is None else shown + 1, **filters)
    older = 0 if shown is None or len(runs) <= shown else shown * 4
    runs = runs[:shown]
    if as_json:
        from planner.ledger.export import as_json as text

        click.echo(text(runs), nl=False)
    elif not runs:
        asked = any(value is not None for value in filters.values())
        click.echo(
            "No run is like that."
            if asked
            else "No run is recorded yet: planner measure, planner.record and planner runs "
            "import write them."
        )
    else:
        from planner.report.formats import terminal
        from planner.report.views import runs as runs_view

        table = runs_view.listing(runs)
        terminal.show_table("Measured runs", table, sys.stdout, whole=(0, 1), drop=DROPPED)
        remark(
            "Estimate: how long the step was estimated, and how far that was off. planner runs "
            "show ID shows all of a run."
        )
        if older:
            remark(f"There are older ones: planner runs --limit {older}")


@click.command("show")
@click.argument("run_id", metavar="ID")
@ledger_option
def show_command(run_id: str, ledger: Path | None, as_json: bool) -> None:
    """All that is known of one run. ID: the beginning of its id, as the list shows it."""
    runs = _runs(ledger, id=run_id, limit=4)
    if not runs:
        raise QuestionError(f"no run begins with {run_id!r}", mend="planner runs lists them")
    if len(runs) > 1:
        raise QuestionError(
            f"several runs begin with {run_id!r}",
            mend=f"Say more of it: {', '.join(run.id[:12] for run in runs)}",
        )
    if as_json:
        from planner.cli.writing import as_json as text

        click.echo(text(runs[0].as_dict()))
    else:
        from planner.report.formats import terminal
        from planner.report.views import runs as runs_view

        terminal.show_sections(runs_view.details(runs[0]), sys.stdout)


@click.command("export")
@click.argument("file", type=FILE)
@_filters
def export_command(file: Path, ledger: Path | None, as_json: bool, **filters: Any) -> None:
    """Write the runs, oldest first, to FILE.csv, FILE.parquet (flat tables) or FILE.json
    (everything)."""
    from planner.cli import writing
    from planner.report.formats.registry import format_for, formats_of

    chosen = format_for(file, "runs")
    if chosen is None:
        raise QuestionError(
            f"cannot write a {file.suffix or 'file without an ending'}",
            where=str(file),
            mend=f"Known: {', '.join(formats_of('runs'))}",
        )
    with working("writing the runs"):
        runs = _runs(ledger, **filters)
        writing.write(file, chosen.render(runs))
    writing.wrote(file, as_json, f"Wrote {_runs_text(len(runs))} to {file}", runs=len(runs))


@click.command("merge")
@click.argument("file", type=FILE)
@ledger_option
def merge_command(file: Path, ledger: Path | None, as_json: bool) -> None:
    """Take over the runs of another ledger, or of a JSON export. Those that are here already are
    left as they are."""
    from planner.cli import writing
    from planner.ledger import export
    from planner.ledger.store import Ledger

    with working("merging"), Ledger(ledger) as mine:
        added, present = (
            mine.append_new(export.read_json(file))
            if file.suffix.lower() == ".json"
            else mine.merge(file)
        )
    writing.done(
        as_json,
        f"Added {_runs_text(added)}; {present:,} {'was' if present == 1 else 'were'} here already",
        added=added,
        present=present,
    )


@click.command("rescue")
@click.argument("file", type=FILE, required=False)
def rescue_command(file: Path | None, as_json: bool) -> None:
    """Save what can be read of a damaged ledger (without FILE: yours), and keep the damaged file
    beside it."""
    from planner.cli import writing
    from planner.ledger.rescue import rescue
    from planner.ledger.store import default_path

    path = file or default_path()
    with working("reading the ledger"):
        done = rescue(path)
    document: dict[str, Any] = {
        "ledger": str(path),
        "saved": done.saved,
        "lost": done.lost,
        "damaged_file": None if done.kept is None else str(done.kept),
    }
    if done.kept is None:
        writing.done(
            as_json, f"{path} is not damaged: {_runs_text(done.saved)}", **document | {"lost": 0}
        )
        return
    lost = (
        "how many were lost is not known"
        if done.lost is None
        else f"{done.lost:,} lost"
        if done.lost
        else "none lost"
    )
    writing.done(
        as_json,
        f"Saved {_runs_text(done.saved)}, {lost}; the damaged file is kept as "
        f"{shlex.quote(str(done.kept))}",
        **document,
    )


def _runs(path: Path | None, *, limit: int | None = None, **filters: Any) -> list:
    """The runs that the filters leave; none where there is no ledger yet and none was named."""
    from planner.ledger.store import Ledger, default_path
    from planner.question import ALL_STRATEGIES

    asked = filters.get("strategy")
    if asked is not None and asked.replace("-", "_") not in ALL_STRATEGIES:
        raise UnknownNameError("strategy", asked, ALL_STRATEGIES)
    missing = path is None and not default_path().exists()
    if missing:
        return []
    with Ledger(path, create=False) as ledger:
        return list(islice(ledger.records(limit=limit, **filters), limit))


def _runs_text(count: int) -> str:
    return f"{count:,} run{'' if count == 1 else 's'}"
