"""What pages of published rows have in common: their notes, and how a script asks and writes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.isolated import each
from planner.cli.writing import write

Row = dict[str, str]


def notes(rows: Sequence[Row], nouns: str) -> Iterator[str]:
    """Where each row is from, and what of its run ``nouns`` has no words for."""
    yield f"What of the runs {nouns} has no words for, and where each row is from:\n"
    for row in rows:
        said = f"{row['note']} " if row["note"] else ""
        yield f"- {row['id']}: {said}({row['source']}, {row['date']})"


def ask_and_write(
    description: str | None,
    rows: Sequence[Row],
    ask: Callable[[Row], Any],
    document: Callable[[list[Row], dict[str, Any]], str],
    limit: float,
) -> int:
    """Every row in a process of its own, at most ``limit`` seconds each; the page to ``--write`` or
    to standard output. A row that failed has its reason, a text, in place of the answer."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the document there")
    options = parser.parse_args()
    asked: dict[str, Any] = {}
    for row, found, failure in each(ask, rows, limit):
        asked[row["id"]] = failure if failure is not None else found
        print(row["id"], failure or "asked", file=sys.stderr, flush=True)
    text = document(list(rows), asked)
    if options.write:
        write(options.write, text)
    else:
        print(text)
    return 0
