"""``planner calibrate``."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from planner.errors import QuestionError

FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("calibrate")
@click.option(
    "--device",
    metavar="cuda|cuda:1|mps|cpu",
    help="What to measure. Without it: the first GPU, or the processor where there is none.",
)
@click.option(
    "--seconds",
    type=float,
    default=60.0,
    show_default=True,
    help="How long it may take. 15 already give a usable profile, 300 a better one.",
)
@click.option(
    "--out",
    type=FILE,
    metavar="FILE.json",
    help="Where the profile goes. Without it: among your own, found by its device's name.",
)
@click.option(
    "--again",
    is_flag=True,
    help="Measure everything again; without it a run goes on where the last one ended.",
)
@click.option(
    "--compile",
    "compiled",
    is_flag=True,
    help="Also measure what torch.compile saves; the compiler may take longer than --seconds.",
)
@click.option(
    "--from",
    "table",
    type=FILE,
    metavar="OPERATIONS.csv",
    help="Fit a table of timed operations and measure nothing.",
)
@click.option(
    "--trace",
    "traces",
    multiple=True,
    type=FILE,
    metavar="TRACE.json[.gz]",
    help="Fit what torch.profiler recorded of a training step and measure nothing. Repeatable.",
)
@click.option(
    "--question",
    metavar="QUESTION",
    help="With --trace: the project.yaml of what was trained; its sizes stand in, by order, for "
    "those that were not recorded.",
)
@click.option(
    "--host-costs",
    is_flag=True,
    help="With --trace: take the host's time too, which a profiler makes longer.",
)
@click.option(
    "--gpu",
    metavar="NAME",
    help="With --from: whose rows to take. With --trace: which device it was, where the trace does "
    "not tell.",
)
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Also time what this host can feed from these files, its imports and how fast it saves. "
    "Repeatable.",
)
@click.option(
    "--tokenizer",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="With --data: a tokenizer's file or folder.",
)
@click.option(
    "--image-size", type=int, metavar="PIXELS", help="With --data: the size images are cut to."
)
@click.option(
    "--task", metavar="NAME", help="With --data: the task, for audio's features and text's columns."
)
def command(
    table: Path | None, traces: tuple[Path, ...], as_json: bool, quiet: bool, **flags: Any
) -> int:
    """Time what this machine really does, and keep it as a device profile.

    From then on estimates for this device stand on its own measurements. Ctrl-C keeps what was
    measured; running it again goes on.
    """
    started = time.monotonic()
    _check(table, traces, flags)
    lines: list[str] = []
    more: dict[str, Any] = {}
    if table is not None:
        from planner.calibrate.importers.profile import import_table

        outcome = import_table(table, flags["gpu"], flags["out"])
    elif traces:
        outcome, lines, more = _of_traces(traces, flags)
    else:
        outcome = _measured(flags, started)
    _show(outcome, as_json, quiet, here=table is None and not traces, lines=lines, more=more)
    return outcome.exit_code


def _of_traces(
    traces: tuple[Path, ...], flags: dict[str, Any]
) -> tuple[Any, list[str], dict[str, Any]]:
    """(outcome, what to know first, what a document holds beside)."""
    from planner.calibrate.importers.kineto import first_lines, import_traces

    own = None
    if flags["question"]:
        from planner.cli.question_options import question_from
        from planner.cli.switches import working

        with working() as progress:
            asked = question_from(flags["question"], None, {})
            from planner.compare.own import own_step

            own = own_step(asked, progress)
    made = import_traces(
        traces,
        flags["gpu"],
        flags["out"],
        device=_index(flags["device"]),
        own=own,
        with_host=flags["host_costs"],
    )
    return made.outcome, first_lines(made.reading), {"trace": made.reading.as_dict()}


def _index(device: str | None) -> int | None:
    """``cuda:1`` → 1."""
    if device is None:
        return None
    kind, colon, index = device.partition(":")
    if kind != "cuda" or not index.isdecimal():
        raise QuestionError(
            f"{device!r} is no device of a trace", where="--device", mend="For example cuda:1"
        )
    return int(index)


def _check(table: Path | None, traces: tuple[Path, ...], flags: dict[str, Any]) -> None:
    """Flags that contradict each other, and data that is not there, are refused before anything is
    measured."""
    if traces:
        _check_traces(table, flags)
        return
    if flags["question"] or flags["host_costs"]:
        raise QuestionError(
            "--question and --host-costs speak of a trace",
            where="--trace",
            mend="Name one with --trace TRACE.json",
        )
    if table is None and flags["gpu"]:
        raise QuestionError(
            "--gpu names the rows of a table, or the device of a trace",
            where="--gpu",
            mend="Use --device for what to measure here, or --from OPERATIONS.csv",
        )
    if table is not None and (
        flags["device"] or flags["data"] or flags["again"] or flags["compiled"]
    ):
        raise QuestionError(
            "--from measures nothing",
            where="--from",
            mend="Leave --device, --data, --again and --compile out",
        )
    if not flags["data"] and any(
        flags[name] is not None for name in ("tokenizer", "image_size", "task")
    ):
        raise QuestionError(
            "--tokenizer, --image-size and --task describe --data",
            where="--data",
            mend="Name the data",
        )
    _check_out(flags["out"])
    for path in flags["data"]:
        if not path.exists():
            raise QuestionError("no such file or folder", where=f"--data {path}")


def _check_traces(table: Path | None, flags: dict[str, Any]) -> None:
    of_measuring = ("data", "again", "compiled", "tokenizer", "image_size", "task")
    if table is not None or any(flags[name] for name in of_measuring):
        raise QuestionError(
            "--trace measures nothing",
            where="--trace",
            mend="Leave --from, --data and what describes it, --again and --compile out",
        )
    _check_out(flags["out"])


def _check_out(out: Path | None) -> None:
    if out is not None and out.suffix.lower() != ".json":
        raise QuestionError(
            "a profile is a .json file", where=f"--out {out}", mend="Name it FILE.json"
        )


def _measured(flags: dict[str, Any], started: float):
    from planner.calibrate.session import Plan  # refuses wrong seconds before torch is imported

    plan = Plan(flags["seconds"], flags["again"], flags["compiled"], started, _loader(flags))
    from planner.calibrate.operations.backends import backend
    from planner.calibrate.session import measure, place
    from planner.cli.switches import remark, working

    device = _device(flags["device"], backend)
    remark(_announced(device, flags["device"]), err=True)
    with working("measuring", single=True) as progress:
        return measure(device, flags["out"] or place(device), plan, progress=progress)


def _device(name: str | None, backend):
    """``cuda:1`` → the second CUDA device."""
    device_type, colon, index = (name or "").partition(":")
    if colon and not index.isdecimal():
        raise QuestionError(
            f"{name!r} is not a device", where="--device", mend="For example cuda:1"
        )
    return backend(device_type or None, int(index or 0))


def _announced(device, asked: str | None) -> str:
    name = device.facts()["name"]
    return (
        f"No GPU here: measuring the processor, {name}"
        if asked is None and device.kind == "cpu"
        else f"Measuring {name}"
    )


def _loader(flags: dict[str, Any]):
    """What times the input pipeline, given its seconds; None without data."""
    if not flags["data"]:
        return None

    def measure(seconds: float) -> Iterator[dict]:
        from planner.datasets.loader.measure import measure_loader

        options = {
            "tokenizer_path": flags["tokenizer"],
            "image_size": flags["image_size"],
            "task": flags["task"],
        }
        each = seconds / len(flags["data"])
        loaders = (measure_loader(path, seconds=each, **options) for path in flags["data"])
        return itertools.chain.from_iterable(loaders)

    return measure


def _show(
    outcome, as_json: bool, quiet: bool, *, here: bool, lines: list[str], more: dict[str, Any]
) -> None:
    """What was measured on standard output, ``lines`` first; why it ended early, and what to know
    of it, on standard error. ``more``: of the document."""
    from planner.calibrate import known_devices
    from planner.calibrate.session import outcome_summary
    from planner.cli.main import printable
    from planner.report.formats import terminal
    from planner.report.formats.parts.screen import show_parts
    from planner.report.views import device as device_view
    from planner.report.views.explaining.part import Part

    record = {**known_devices.record(outcome.path), "run": outcome_summary(outcome), **more}
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(record))
    elif quiet:
        click.echo(outcome.path)
    else:
        if lines:
            show_parts([Part("", tuple(map(printable, lines)))], sys.stdout)
            click.echo("")
        terminal.show_sections(device_view.details(record, record["run"]), sys.stdout)
        click.echo(f"\nWrote {outcome.path}\n{device_view.usage(record, here=here)}")
    for note in () if quiet else outcome.notes:
        click.echo(printable(note), err=True)
    if outcome.stopped:
        click.echo(f"planner: {printable(device_view.stopped(record))}", err=True)
