"""``planner sweep``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from planner.cli.progress import Progress
from planner.cli.switches import is_on, remark

INTERRUPTED = 130


@click.command("sweep")
@click.argument("grid", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--output",
    "-o",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The table: .parquet, .csv or .jsonl, a row a question.",
)
@click.option(
    "--processes",
    type=click.IntRange(1, 1024),
    metavar="N",
    help="Processes of this machine; by default one a core.",
)
@click.option("--dask", metavar="ADDRESS", help="Answer on the workers of this Dask scheduler.")
@click.option(
    "--ray",
    is_flag=False,
    flag_value="",
    default=None,
    metavar="[ADDRESS]",
    help="Answer on this Ray cluster; without an address on the one of this machine.",
)
@click.option("--anew", is_flag=True, help="Ask all again, also what an earlier call answered.")
@click.option(
    "--documents/--no-documents",
    default=None,
    help="Whether each row holds the whole answer as JSON. [default: all but .csv do]",
)
def command(
    grid: Path,
    output: Path | None,
    processes: int | None,
    dask: str | None,
    ray: str | None,
    anew: bool,
    documents: bool | None,
    as_json: bool,
) -> int:
    """A grid of questions answered into one table: models × data × strategies × GPUs, or any other
    field.

    GRID is a YAML file whose keys are fields of a question: one value is set for all, a list is
    swept. exclude: leaves combinations out, include: adds others. Answers are kept beside FILE as
    they come; after a call that was ended the same call goes on from there.
    """
    if output is None:
        raise click.UsageError(
            "Missing option '-o', the table that is written", click.get_current_context()
        )
    if sum(given is not None for given in (processes, dask, ray)) > 1:
        raise click.UsageError("--processes, --dask and --ray exclude each other")
    from planner.choose.sweep.sweep import Interrupted, Where, exit_code, sweep

    where = Where(processes, dask, ray)
    shown = sys.stderr.isatty() and not is_on("quiet")
    try:
        with Progress(sys.stderr, enabled=shown, single=True) as progress:
            summary = sweep(
                grid, output, where=where, anew=anew, documents=documents, progress=progress
            )
    except Interrupted as error:
        click.echo(f"planner: interrupted: {error.kept}", err=True)
        return INTERRUPTED
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(summary))
    else:
        from planner.report.views.summary.sweep import lines

        for line in lines(summary):
            remark(line)
    return exit_code(summary)
