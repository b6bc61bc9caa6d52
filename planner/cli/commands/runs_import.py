"""``planner runs import``: past runs, out of the logs of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.commands.runs import FILE, ledger_option
from planner.cli.switches import OneOf, working
from planner.errors import QuestionError, flag

if TYPE_CHECKING:
    from planner.ledger.importers.reading import Import
    from planner.ledger.record import RunRecord

FORMATS = ("auto", "trainer", "wandb", "mlflow", "tensorboard", "nvidia-smi", "sacct", "csv")
#: What validation needs of a run; said when it is not known.
NEEDED = ("model", "strategy", "gpu", "micro_batch", "precision", "optimizer")
#: Setups of a run that the log may not tell, as flags.
_KINDS = {"count": int, "whole": int, "amount": float, "positive": float}


def _setup_options(function: Callable) -> Callable:
    from planner.ledger.record import setup_types
    from planner.question.settings import lists_of_runs

    for name, value_type in reversed(list(setup_types().items())):
        if value_type == "flag":
            function = click.option(
                f"{flag(name)}/{flag(name, off=True)}",
                name,
                default=None,
                help="Of the run, where the log does not say it.",
            )(function)
        else:
            function = click.option(
                flag(name),
                name,
                type=_KINDS.get(value_type, str),
                metavar={int: "N", float: "X"}.get(_KINDS.get(value_type), "NAME"),
            )(function)
    for name in reversed(lists_of_runs()):
        function = click.option(flag(name), metavar="NAMES", help="Of the run, with commas.")(
            function
        )
    return function


@click.command("import")
@click.argument("place", metavar="FILE|FOLDER", type=FILE)
@click.option(
    "--format",
    "format_",
    type=OneOf(FORMATS),
    default="auto",
    show_default=True,
    help="What kind of log it is.",
)
@click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="NAME=COLUMN[:UNIT]",
    help="Which column of a CSV holds what, for example step_seconds=iter_time_ms:ms. Repeatable.",
)
@click.option(
    "--rows-are-steps",
    is_flag=True,
    help="The rows of the CSV are steps of one run. (Each is a run of its own otherwise.)",
)
@click.option("--dry-run", is_flag=True, help="Show what would be taken, write nothing.")
@ledger_option
@_setup_options
def import_command(
    place: Path,
    format_: str,
    mapping: tuple[str, ...],
    rows_are_steps: bool,
    dry_run: bool,
    ledger: Path | None,
    as_json: bool,
    **setup: Any,
) -> None:
    """Take past runs over into the ledger.

    \b
    planner runs import outputs/trainer_state.json --gpu h100-sxm --strategy lora
    planner runs import wandb/run-20260131_120000-abc --precision bf16
    planner runs import mlruns
    planner runs import times.csv --map step_seconds=iter_time_ms:ms --model gpt2

    Reads: a Trainer's trainer_state.json (and its folder), Weights & Biases folders and exports,
    MLflow's mlruns, TensorBoard event files, CSV tables, logs of nvidia-smi and of sacct -P.
    Everything that the log does not say can be said with flags named as planner estimate names
    them; what nobody says stays unknown.
    """
    from planner.ledger.importers.reading import read

    known = _known(setup)
    with working(f"reading {place.name}"):
        taken = read(place, format=format_, known=known, mapping=mapping, steps=rows_are_steps)
    if not as_json:
        _say(taken)
    _say_left_out(taken)
    if not taken.records:
        raise QuestionError("nothing could be taken", where=str(place))
    added = None if dry_run else _write(taken.records, ledger)
    if as_json:
        _document(taken, added)
    elif added is None:
        click.echo(f"Would add {_count(len(taken.records), 'run')}; nothing was written")
    else:
        _say_added(*added)


def _document(taken: Import, added: tuple[int, int, int] | None) -> None:
    from planner.cli.writing import as_json as to_json

    new, present, others = added or (None, None, None)
    document = {
        "schema": 1,
        "format": taken.format,
        "runs": [run.as_dict() for run in taken.records],
        "left_out": [*taken.problems],
        "more_left_out": taken.more_problems,
        "added": new,
        "present": present,
        "with_another_setup": others,
    }
    click.echo(to_json(document))


def _known(setup: dict[str, Any]) -> dict[str, Any]:
    from planner.question.settings import lists_of_runs

    known = {name: value for name, value in setup.items() if value is not None}
    if "strategy" in known:
        from planner.question import ALL_STRATEGIES

        known["strategy"] = known["strategy"].replace("-", "_")
        if known["strategy"] not in ALL_STRATEGIES:
            from planner.errors import UnknownNameError

            raise UnknownNameError("strategy", known["strategy"], ALL_STRATEGIES)
    for name in set(lists_of_runs()) & set(known):
        known[name] = [part.strip() for part in known[name].split(",") if part.strip()]
    return known


def _write(records: tuple[RunRecord, ...], path: Path | None) -> tuple[int, int, int]:
    """How many were added, were here already, and had been imported with another setup."""
    from planner.ledger.store import Ledger

    with Ledger(path) as ledger:
        sources = {record.source for record in records}
        before = {run.id for run in ledger.records(kind="imported") if run.source in sources} - {
            record.id for record in records
        }
        added, present = ledger.append_new(iter(records))
    return added, present, len(before) if added else 0


def _say_added(added: int, present: int, others: int) -> None:
    click.echo(
        f"Added {_count(added, 'run')}"
        + (f"; {present:,} {'was' if present == 1 else 'were'} here already" if present else "")
    )
    if others:
        click.echo(
            f"{_count(others, 'run')} of this very file had been imported with another "
            "setup, and stay beside the new ones"
        )


def _say(taken: Import) -> None:
    """What was taken, and what stays unknown."""
    runs = taken.records
    click.echo(f"Read as {taken.format}: {_count(len(runs), 'run')}")
    for title, part in (("measured", "measurement"), ("setup", "setup")):
        names = sorted(
            {
                name
                for run in runs
                for name, value in getattr(run, part).items()
                if value is not None
            }
        )
        if names:
            click.echo(f"  {title}: {', '.join(names)}")
    unknown = {
        name: missing
        for name in NEEDED
        if (missing := sum(run.setup.get(name) is None for run in runs))
    }
    if runs and unknown:
        of_some = [
            name if missing == len(runs) else f"{name} (of {missing} runs)"
            for name, missing in unknown.items()
        ]
        click.echo(
            f"  unknown: {', '.join(of_some)}; say them with "
            f"{' '.join(flag(name) for name in unknown)}"
        )
    for note in sorted({note for run in runs for note in run.notes})[:5]:
        click.echo(f"  note: {note}")


def _say_left_out(taken: Import) -> None:
    for line in taken.problems:
        click.echo(f"  left out: {_printable(line)}", err=True)
    if taken.more_problems:
        click.echo(f"  left out: {taken.more_problems:,} more like these", err=True)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
