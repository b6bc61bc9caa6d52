"""``planner validate``."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from planner.cli.switches import remark
from planner.errors import QuestionError

FILE = click.Path(path_type=Path)
SHARE = click.FloatRange(min=0)


@click.command("validate")
@click.argument("tables", nargs=-1, metavar="[TABLE.csv]...")
@click.option(
    "--ledger",
    type=FILE,
    metavar="FILE",
    help="Another ledger than yours; with tables, this one too.",
)
@click.option(
    "--basis",
    "bases",
    multiple=True,
    metavar="best|datasheet|calibrated|exact",
    help="On what estimates stand; repeatable. [default: best]",
)
@click.option("--gpu", metavar="TEXT", help="Only devices whose name contains this.")
@click.option("--family", metavar="TEXT", help="Only model families whose name contains this.")
@click.option("--strategy", metavar="NAME", help="Only this strategy.")
@click.option(
    "--since", metavar="DATE", help="Only the ledger's runs from this date or moment on (UTC)."
)
@click.option(
    "--max-median-error",
    type=SHARE,
    metavar="SHARE",
    help="Exit with 1 where a median error is above it: 0.1 is 10 %.",
)
@click.option(
    "--max-p90-error",
    type=SHARE,
    metavar="SHARE",
    help="The same of the error that nine in ten runs stay below.",
)
@click.option(
    "--min-coverage",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Exit with 1 where 80 % intervals cover less than this.",
)
@click.option(
    "--quantity",
    "quantities",
    multiple=True,
    metavar="time|forward|allocated|reserved|device|context|hours|usd",
    help="What the limits hold for; repeatable. [default: all but forward and context]",
)
@click.option(
    "--plot",
    type=FILE,
    metavar="FILE.png|svg",
    help="Draw estimate over measurement with the intervals.",
)
@click.option("--write", type=FILE, metavar="FILE.md", help="Also write the report as Markdown.")
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Processes that ask at once.",
)
def command(
    tables: tuple[str, ...],
    ledger: Path | None,
    as_json: bool,
    plot: Path | None,
    write: Path | None,
    **flags: Any,
) -> int:
    """Measured runs against today's estimates: how far off they are, and how often their intervals
    hold.

    Without a table: the ledger's runs. A table has the columns of profiles/measured/published.csv,
    or is an export of planner runs; `published` names the shipped one.

    \b
    planner validate --plot accuracy.png
    planner validate runs.csv --max-median-error 0.1 --min-coverage 0.7
    """
    limits = _limits(flags)
    _check_outputs(plot, write)
    from planner.validate.validate import ACCOUNTS

    items, records, problems = gather(
        tables, ledger, flags["since"], flags["gpu"], flags["family"], flags["strategy"]
    )
    validation = validated(items, records, flags["bases"] or ("best",), flags["workers"])
    account = getattr(validation, validation.today)
    broken = limits.broken(account)
    if limits.any and not any(c.quantity in limits.quantities for c in account):
        raise QuestionError(
            "no run could be judged, so no limit can hold",
            where="planner validate",
            mend="planner validate without limits says why",
        )
    asked = {
        "tables": list(tables),
        "bases": list(flags["bases"] or ("best",)),
        "limits_hold_for": ACCOUNTS[validation.today],
    }
    _write(validation, plot, write, broken, problems)
    _show(validation, asked, broken, problems, as_json)
    return 1 if broken else 0


def _limits(flags: dict[str, Any]):
    from planner.validate.summaries import QUANTITIES
    from planner.validate.validate import Limits

    quantities = flags["quantities"]
    if unknown := [name for name in quantities if name not in QUANTITIES]:
        raise QuestionError(
            f"unknown quantity {unknown[0]!r}",
            where="--quantity",
            mend=f"Use {', '.join(QUANTITIES)}",
        )
    limits = Limits(flags["max_median_error"], flags["max_p90_error"], flags["min_coverage"])
    return (
        Limits(limits.median_error, limits.p90_error, limits.coverage, tuple(quantities))
        if quantities
        else limits
    )


def _check_outputs(plot: Path | None, write: Path | None) -> None:
    """Wrong endings are refused before minutes are spent."""
    from planner.report.formats.registry import format_for, formats_of

    if plot is not None and format_for(plot, "picture") is None:
        raise QuestionError(
            f"no picture format {plot.suffix!r}",
            where=f"--plot {plot}",
            mend=f"Use {' or '.join(formats_of('picture'))}",
        )
    for name, path in (("--plot", plot), ("--write", write)):
        if path is not None and not path.parent.is_dir():
            raise QuestionError(
                "no such folder", where=f"{name} {path}", mend="Create it or choose another"
            )


def gather(
    tables: Iterable[str],
    ledger: Path | None,
    since: str | None = None,
    gpu: str | None = None,
    family: str | None = None,
    strategy: str | None = None,
):
    """(cases and refusals, the ledger's records, problems). Raises QuestionError where there is no
    run at all."""
    from planner.ledger.importers.found import Problems
    from planner.ledger.store import Ledger, default_path
    from planner.validate.gathering import from_ledger, from_table, known_filters, table_path

    problems, items, records = Problems(), [], []
    for name in tables:
        items += from_table(table_path(name), problems)
    if ledger is not None or (not tables and default_path().exists()):
        with Ledger(ledger, create=False) as book:
            records = list(book.records(since=since))
        items += from_ledger(records)
    if not items and not problems.lines:
        raise QuestionError(
            "no measured run to judge",
            where="planner validate",
            mend="planner measure, planner.record and planner runs import write them; or name "
            "a table, such as published",
        )
    return known_filters(gpu, family, strategy, items), records, problems


def validated(items: list, records: list, bases: Iterable[str], workers: int):
    """The validation of what was gathered, whole runs of the ledger included."""
    import dataclasses

    from planner.cli.switches import working
    from planner.validate.cases import LEDGER, Case, Refused
    from planner.validate.validate import validate
    from planner.validate.whole_runs import compared

    cases, refused = (
        [i for i in items if isinstance(i, Case)],
        tuple(i for i in items if isinstance(i, Refused)),
    )
    with working("asking again", single=True) as progress:
        found = validate(cases, bases=tuple(bases), workers=workers, progress=progress)
    kept = {case.id for case in cases if case.table == LEDGER}
    whole = compared([r for r in records if r.id[:12] in kept])
    return dataclasses.replace(
        found,
        plain=found.plain + whole.plain,
        in_force=found.in_force + whole.in_force,
        refused=found.refused + refused,
    )


def _write(validation, plot: Path | None, write: Path | None, broken: list[str], problems) -> None:
    from planner.report.views import validation as validation_view

    title = "Estimates beside measured runs"
    if plot is not None:
        from planner.report.plots.accuracy import draw

        draw(getattr(validation, validation.today), plot, title)
    if write is not None:
        from planner.cli.writing import write as write_file

        shown = (
            plot.name
            if plot is not None and plot.parent.resolve() == write.parent.resolve()
            else str(plot)
            if plot is not None
            else None
        )
        write_file(
            write,
            validation_view.markdown(
                validation, title, broken, problems.lines, problems.rows, shown
            ),
        )


def _show(validation, asked: dict[str, Any], broken: list[str], problems, as_json: bool) -> None:
    from planner.report.formats import terminal
    from planner.report.views import validation as validation_view

    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(validation_view.document(validation, asked, broken, problems.lines)))
    else:
        terminal.show_sections(
            validation_view.sections(validation, problems.lines, problems.rows), sys.stdout
        )
        remark(f"\n{validation.cases:,} runs asked again; broken down: {asked['limits_hold_for']}.")
    for line in broken:
        click.echo(f"planner: limit broken: {line}", err=True)
