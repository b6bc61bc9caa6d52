"""Parts of a page as Markdown: for pull-request comments and files."""

from __future__ import annotations

import re
from collections.abc import Iterable

from planner.report.formats.markdown import escaped
from planner.report.views.explaining.part import Part
from planner.report.views.table import Table


def markdown_of(title: str, parts: Iterable[Part]) -> str:
    """Headings, lists and tables, ending in a newline; parts without a title stand first."""
    made = [f"## {_inert(title)}"]
    for part in parts:
        if part.title:
            made.append(f"### {_inert(part.title)}")
        if part.lines:
            mark = "**Warning:** " if part.warns else ""
            lines = (f"{mark}{_inert(line)}" for line in part.lines)
            made.append(
                "\n".join(f"- {line}" for line in lines) if part.title else "\n\n".join(lines)
            )
        if part.table is not None and part.table.rows:
            made.append(_table(part.table, part.right))
        made += [f"_{_inert(note)}_" for note in part.notes]
    return "\n\n".join(made) + "\n"


#: What GitHub and GitLab make links or mentions of.
_ACTIVE = re.compile(r"(?<![A-Za-z0-9])@(?=[A-Za-z0-9])|(?<=[A-Za-z])(?=://)|(?<=www)(?=\.)")
#: Joins words without a sign of its own.
JOINER = "\u2060"


def _inert(text: str) -> str:
    """Escaped, and no user's string is a link or calls somebody."""
    return escaped(_ACTIVE.sub(lambda hit: hit[0] + JOINER, text))


def _table(table: Table, right: Iterable[int]) -> str:
    ends = set(right)
    rule = ["---:" if index in ends else "---" for index in range(len(table.headers))]
    rows = [[_inert(header) for header in table.headers], rule]
    rows += [[_inert(cell.strip()) for cell in row] for row in table.rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
