"""``planner measure``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from planner.cli.question_options import question_options
from planner.cli.switches import remark

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("measure")
@click.argument("model")
@click.argument("data", required=False)
@question_options
@click.option(
    "--seconds",
    type=float,
    default=20.0,
    show_default=True,
    help="How long warm-up and timing of one strategy may take; it stops sooner when it is sure.",
)
@click.option(
    "--device",
    metavar="cpu|cuda|cuda:1",
    help="Where to train. Without it: the first GPU, or the processor where there is none.",
)
@click.option(
    "--ledger",
    type=FILE,
    metavar="FILE",
    help="Another ledger than yours (PLANNER_LEDGER names yours too).",
)
@click.option("--no-ledger", is_flag=True, help="Keep nothing.")
def command(
    model: str,
    data: str | None,
    seconds: float,
    device: str | None,
    ledger: Path | None,
    no_ledger: bool,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """Really train for some steps here, and set the estimate beside what was measured.

    The same question as planner estimate: MODEL and DATA, or --samples. Each --strategy is
    measured, or the recommended one. A folder's own safetensors and the data's own samples are used
    where they can be; else weights and batches are of the same shape, which costs the same. Running
    out of memory is a result. Each run goes into the ledger (planner runs).
    """
    from planner.cli.question_options import question_from

    question = question_from(model, data, flags)
    runs = []
    # a ledger that cannot be written is refused before the work
    with contextlib.nullcontext() if no_ledger else _opened(ledger) as book:
        for run in _measured(question, device, seconds):
            runs.append(run)
            if not as_json:
                _show(run, quiet, kept=book is not None)
            if book is not None:
                book.append(run)
    if as_json:
        from planner.cli.writing import as_json as to_json
        from planner.measure.explain import explain

        click.echo(
            to_json(
                {
                    "schema": 1,
                    "question": question.model_dump(mode="json"),
                    "runs": [
                        {**run.as_dict(), "explained": explain(run).as_dict()} for run in runs
                    ],
                }
            )
        )
    return 0


def _measured(question: Any, device: str | None, seconds: float):
    from planner.cli.switches import working

    with working() as progress:
        from planner.measure.measure import measure_question

        yield from measure_question(question, device=device, seconds=seconds, progress=progress)


def _opened(path: Path | None):
    from planner.ledger.store import Ledger

    return Ledger(path)


def _show(run: Any, quiet: bool, *, kept: bool) -> None:
    from planner.report.formats import terminal
    from planner.report.views import measured as measured_view

    terminal.show_sections(measured_view.sections(run, brief=quiet), sys.stdout)
    if kept:
        remark(f"\nKept as run {run.id[:6]}: planner runs show {run.id[:6]}")
