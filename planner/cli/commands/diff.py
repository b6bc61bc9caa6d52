"""``planner diff``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import FieldName, QuestionError

if TYPE_CHECKING:
    from planner.diff.side import Side

LIMIT_BROKEN = 1
SUFFIXES = (".md", ".json")


@click.command("diff")
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@click.option(
    "--at",
    nargs=2,
    metavar="REV1 REV2",
    help="A as it stood at two git revisions; :0 is what is staged. Nothing is checked out or run.",
)
@click.option(
    "--max-increase-usd",
    type=float,
    metavar="X",
    help="Exit code 1 when it becomes dearer by more than this.",
)
@click.option(
    "--max-increase-percent",
    type=float,
    metavar="P",
    help="Exit code 1 when it becomes dearer by more than this many percent.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write it to FILE: .md for a comment, or .json.",
)
def command(
    a: str,
    b: str | None,
    at: tuple[str, str] | None,
    max_increase_usd: float | None,
    max_increase_percent: float | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Two questions or answers side by side: what changed, why, and whether it is too much.

    A and B are project.yaml files, or answers that `planner estimate --json` wrote (.json).

    \b
    planner diff before.yaml after.yaml
    planner diff answer.json project.yaml
    planner diff project.yaml --at origin/main HEAD -o diff.md --max-increase-percent 20
    """
    _check(b, at, output, (max_increase_usd, max_increase_percent))
    with tempfile.TemporaryDirectory(prefix="planner-diff-") as folder:
        document = _document(a, b, at, Path(folder), max_increase_usd, max_increase_percent)
    _show(document, output, as_json=as_json, quiet=quiet)
    return _exit_code(document)


def _check(
    b: str | None,
    at: tuple[str, str] | None,
    output: Path | None,
    limits: tuple[float | None, float | None],
) -> None:
    """Refused before the work."""
    if (b is None) == (at is None):
        raise QuestionError(
            "a difference needs two sides",
            mend=f"Name two files, or one project.yaml and {FieldName('at')} REV1 REV2",
        )
    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise QuestionError(
            f"{output.suffix or str(output)!r} is no format of a difference",
            where=FieldName("output"),
            mend=f"End it in {' or '.join(SUFFIXES)}",
        )
    for name, limit in zip(("max_increase_usd", "max_increase_percent"), limits):
        # a limit that is no number is never broken
        if limit is not None and not 0 <= limit < float("inf"):
            raise QuestionError("must be at least 0", where=FieldName(name))


def _document(
    a: str,
    b: str | None,
    at: tuple[str, str] | None,
    folder: Path,
    usd: float | None,
    percent: float | None,
) -> dict[str, Any]:
    from planner.cli.switches import working

    with working() as progress:
        sides = [_side(name) for name in (a, b) if name is not None] if at is None else []
        if at is not None:
            sides = _at_revisions(a, at, folder)
        from planner.diff.document import diff  # after the questions stand

        return diff(
            sides[0], sides[1], progress, max_increase_usd=usd, max_increase_percent=percent
        )


def _at_revisions(project: str, at: tuple[str, str], folder: Path) -> list[Side]:
    from planner.diff.git import at_revision
    from planner.question.parsing import is_file

    if not is_file(project):
        raise QuestionError(
            "only a project.yaml stands in a repository",
            where=project,
            mend=f"Name one with {FieldName('at')}",
        )
    sides: list[Side] = []
    for number, revision in enumerate(at):
        target = folder / str(number)
        target.mkdir()
        sides.append(at_revision(Path(project), revision, target))
    return sides


def _side(name: str) -> Side:
    from planner.cli.answering import read_answer
    from planner.diff.side import of_answer, of_project
    from planner.question.parsing import is_file

    if is_file(name):
        return of_project(Path(name))
    if name.lower().endswith(".json"):
        return of_answer(read_answer(Path(name)), name)
    raise QuestionError(
        "is neither a project.yaml nor an answer (.json)",
        where=name,
        mend="planner init writes the one, planner estimate … --json the other",
    )


def _show(document: dict[str, Any], output: Path | None, *, as_json: bool, quiet: bool) -> None:
    from planner.cli import writing
    from planner.report.views.differing.page import parts

    if output is not None:
        from planner.report.formats.parts_markdown import markdown_of

        text = (
            writing.as_json(document) + "\n"
            if output.suffix.lower() == ".json"
            else markdown_of("What this change costs", parts(document))
        )
        writing.write(output, text)
        writing.wrote(output, as_json, f"wrote {output}")
    elif as_json:
        click.echo(writing.as_json(document))
    else:
        from planner.report.formats.parts_text import show_parts

        show_parts(parts(document, brief=quiet), sys.stdout)


def _exit_code(document: dict[str, Any]) -> int:
    """0, or 1 with one line a broken limit on standard error."""
    from planner.cli.main import printable

    broken = document["gate"]["broken"]
    for line in broken:
        click.echo(f"planner: {printable(line)}", err=True)
    return LIMIT_BROKEN if broken else 0
