"""``planner diff``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.errors import FieldName, QuestionError

if TYPE_CHECKING:
    from planner.diff.side import Side

LIMIT_BROKEN = 1
SUFFIXES = (".md", ".json")
TITLE = "What this change costs"


@click.command("diff")
@click.argument("files", metavar="A [B]", nargs=-1, required=True)
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
    files: tuple[str, ...],
    at: tuple[str, str] | None,
    max_increase_usd: float | None,
    max_increase_percent: float | None,
    output: Path | None,
    as_json: bool,
    quiet: bool,
) -> int:
    """Two questions or answers side by side: what changed, why, and whether it is too much.

    A and B are project.yaml files, or answers that `planner estimate --json` wrote (.json). With
    --at each file named is one project at two revisions.

    \b
    planner diff before.yaml after.yaml
    planner diff answer.json project.yaml
    planner diff project.yaml --at origin/main HEAD -o diff.md --max-increase-percent 20
    """
    limits = {"max_increase_usd": max_increase_usd, "max_increase_percent": max_increase_percent}
    _check(files, at, output, limits)
    documents: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="planner-diff-") as folder:
        for number, names in enumerate([files] if at is None else [(file,) for file in files]):
            documents.append(_document(names, at, Path(folder) / str(number), limits))
    _show(documents, output, as_json=as_json, quiet=quiet)
    return _exit_code(documents)


def _check(
    files: Sequence[str],
    at: tuple[str, str] | None,
    output: Path | None,
    limits: Mapping[str, float | None],
) -> None:
    """Refused before the work."""
    if at is None and len(files) != 2:
        raise QuestionError(
            f"a difference needs two sides, here {'is' if len(files) == 1 else 'are'} {len(files)}",
            mend=f"Name two files, or one project.yaml and {FieldName('at')} REV1 REV2",
        )
    if output is not None and output.suffix.lower() not in SUFFIXES:
        raise QuestionError(
            f"{output.suffix or str(output)!r} is no format of a difference",
            where=FieldName("output"),
            mend=f"End it in {' or '.join(SUFFIXES)}",
        )
    for name, limit in limits.items():
        # a limit that is no number is never broken
        if limit is not None and not 0 <= limit < float("inf"):
            raise QuestionError("must be a number of at least 0", where=FieldName(name))


def _document(
    names: Sequence[str],
    at: tuple[str, str] | None,
    folder: Path,
    limits: Mapping[str, float | None],
) -> dict[str, Any]:
    from planner.cli.switches import working

    with working() as progress:
        if at is None:
            a, b = (_side(name) for name in names)
        else:
            a, b = _at_revisions(names[0], at, folder)
        from planner.diff.document import diff  # after the questions stand

        return diff(a, b, progress, **limits)


def _at_revisions(
    project: str, at: tuple[str, str], folder: Path
) -> tuple[Side | None, Side | None]:
    """None where a revision does not hold the project."""
    from planner.diff.git import at_revision
    from planner.question.parsing import is_file

    if not is_file(project):
        raise QuestionError(
            "only a project.yaml stands in a repository",
            where=project,
            mend=f"Name one with {FieldName('at')}",
        )
    sides: list[Side | None] = []
    for number, revision in enumerate(at):
        target = folder / str(number)
        target.mkdir(parents=True)
        sides.append(at_revision(Path(project), revision, target))
    if sides == [None, None]:
        raise QuestionError(f"neither {at[0]} nor {at[1]} holds it", where=project)
    return sides[0], sides[1]


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


def _show(
    documents: list[dict[str, Any]], output: Path | None, *, as_json: bool, quiet: bool
) -> None:
    from planner.cli import writing
    from planner.report.views.differing.page import parts

    # one difference is its document, several are listed in one
    whole = documents[0] if len(documents) == 1 else {"schema": 1, "differences": documents}
    if output is not None:
        from planner.report.formats.parts.markdown import markdown_of

        text = (
            writing.as_json(whole) + "\n"
            if output.suffix.lower() == ".json"
            else markdown_of(TITLE, [part for one in documents for part in parts(one)])
        )
        writing.write(output, text)
        writing.wrote(output, as_json, f"wrote {output}")
    elif as_json:
        click.echo(writing.as_json(whole))
    else:
        from planner.report.formats.parts.screen import show_parts

        show_parts([part for one in documents for part in parts(one, brief=quiet)], sys.stdout)


def _exit_code(documents: list[dict[str, Any]]) -> int:
    """0, or 1 with one line a broken limit on standard error."""
    from planner.cli.main import printable

    broken = [
        f"{(one['b'] or one['a'])['label']}: {line}"
        for one in documents
        for line in one["gate"]["broken"]
    ]
    for line in broken:
        click.echo(f"planner: {printable(line)}", err=True)
    return LIMIT_BROKEN if broken else 0
