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
@click.option("--gpu", metavar="NAME", help="With --from: whose rows to take.")
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
def command(table: Path | None, as_json: bool, quiet: bool, **flags: Any) -> int:
    """Time what this machine really does, and keep it as a device profile.

    From then on estimates for this device stand on its own measurements. Ctrl-C keeps what was
    measured; running it again goes on.
    """
    started = time.monotonic()
    _check(table, flags)
    if table is not None:
        from planner.calibrate.importers.profile import import_table

        outcome = import_table(table, flags["gpu"], flags["out"])
    else:
        outcome = _measured(flags, started)
    _show(outcome, as_json, quiet, from_table=table is not None)
    return outcome.exit_code


def _check(table: Path | None, flags: dict[str, Any]) -> None:
    """Flags that contradict each other, and data that is not there, are refused before anything is
    measured."""
    if table is None and flags["gpu"]:
        raise QuestionError(
            "--gpu names the rows of a table",
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
    if flags["out"] is not None and flags["out"].suffix.lower() != ".json":
        raise QuestionError(
            "a profile is a .json file", where=f"--out {flags['out']}", mend="Name it FILE.json"
        )
    for path in flags["data"]:
        if not path.exists():
            raise QuestionError("no such file or folder", where=f"--data {path}")


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


def _show(outcome, as_json: bool, quiet: bool, *, from_table: bool) -> None:
    """What was measured on standard output; why it ended early, and what to know of it, on standard
    error."""
    from planner.calibrate import known_devices
    from planner.calibrate.session import outcome_summary
    from planner.cli.main import printable
    from planner.report.formats import terminal
    from planner.report.views import device as device_view

    record = {**known_devices.record(outcome.path), "run": outcome_summary(outcome)}
    if as_json:
        from planner.cli.writing import as_json as to_json

        click.echo(to_json(record))
    elif quiet:
        click.echo(outcome.path)
    else:
        terminal.show_sections(device_view.details(record, record["run"]), sys.stdout)
        click.echo(f"\nWrote {outcome.path}\n{device_view.usage(record, here=not from_table)}")
    for note in () if quiet else outcome.notes:
        click.echo(printable(note), err=True)
    if outcome.stopped:
        click.echo(f"planner: {printable(device_view.stopped(record))}", err=True)
