"""``planner compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from planner.cli.question_options import question_options
from planner.errors import FieldName, QuestionError
from planner.files import check_place

FILE = click.Path(path_type=Path)
SUFFIXES = (".md", ".json")


@click.command("compare")
@click.argument("question")
@click.argument("data", required=False)
@click.option(
    "--trace",
    type=FILE,
    metavar="TRACE.json[.gz]",
    help="A step that torch.profiler recorded: its time beside the planned one.",
)
@click.option(
    "--snapshot",
    type=FILE,
    metavar="SNAPSHOT.pickle",
    help="What torch.cuda.memory._dump_snapshot wrote: its peak beside the planned one. It is "
    "read and never unpickled.",
)
@click.option(
    "--device", metavar="cuda:1", help="Which device counts, where several were recorded."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it to FILE: .md or .json.",
)
@question_options
def command(
    question: str,
    data: str | None,
    trace: Path | None,
    snapshot: Path | None,
    device: str | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
    **flags: Any,
) -> int:
    """The planned step beside one that was recorded: where time or memory went otherwise.

    QUESTION is a project.yaml, or a model followed by its data, as of planner estimate; the option
    that it recommends is compared. Name what was trained: its batch, precision and device.

    \b
    planner compare project.yaml --trace trace.json.gz
    planner compare project.yaml --snapshot snapshot.pickle
    """
    from planner.cli import answering

    _check(trace, snapshot, output)
    answering.must_name_a_model(question, data, flags)
    document = _document(question, data, flags, trace, snapshot, _index(device))
    _show(document, output, as_json=as_json, quiet=quiet)
    return 0


def _check(trace: Path | None, snapshot: Path | None, output: Path | None) -> None:
    """Refused before the work."""
    if (trace is None) == (snapshot is None):
        raise QuestionError(
            "names nothing recorded" if trace is None else "is of time, a snapshot of memory",
            where=FieldName("trace"),
            mend=f"Name one, {FieldName('trace')} or {FieldName('snapshot')}",
        )
    if output is not None:
        if output.suffix.lower() not in SUFFIXES:
            raise QuestionError(
                f"{output.suffix or str(output)!r} is no format of a comparison",
                where=FieldName("output"),
                mend=f"End it in {' or '.join(SUFFIXES)}",
            )
        check_place(output)


def _index(device: str | None) -> int | None:
    if device is None:
        return None
    kind, _, index = device.partition(":")
    if kind != "cuda" or not index.isdecimal():
        raise QuestionError(
            f"{device!r} is no device of a recording",
            where=FieldName("device"),
            mend="For example cuda:1",
        )
    return int(index)


def _document(
    question: str,
    data: str | None,
    flags: dict[str, Any],
    trace: Path | None,
    snapshot: Path | None,
    device: int | None,
) -> dict[str, Any]:
    from planner.cli.question_options import question_from
    from planner.cli.switches import working

    with working() as progress:
        asked = question_from(question, data, flags)
        from planner.compare import document as comparing  # after the question stands

        if trace is not None:
            return comparing.compare_trace(asked, trace, progress, device)
        assert snapshot is not None  # one of them is named
        return comparing.compare_snapshot(asked, snapshot, progress, device)


def _show(document: dict[str, Any], output: Path | None, *, as_json: bool, quiet: bool) -> None:
    from planner.cli import writing
    from planner.report.views.comparing.page import TITLE, parts

    if output is not None:
        from planner.report.formats.parts.markdown import markdown_of

        text = (
            writing.as_json(document) + "\n"
            if output.suffix.lower() == ".json"
            else markdown_of(TITLE, parts(document))
        )
        writing.write(output, text)
        writing.wrote(output, as_json, f"wrote {output}")
    elif as_json:
        click.echo(writing.as_json(document))
    else:
        from planner.report.formats.parts.screen import show_parts

        show_parts(parts(document, brief=quiet), sys.stdout)
