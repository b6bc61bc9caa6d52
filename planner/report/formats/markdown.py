"""The budget report as Markdown for GitHub: one page that decides, the rest folded below it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from html import escape as html_escape
from typing import Any

from planner.report.formats.registry import Format
from planner.report.views.budget.part import Fact, Grid, Line, Section
from planner.report.views.budget.sections import sections
from planner.report.views.table import one_line

_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~!&$])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])")
#: What begins a list or a heading's underline where it begins a line.
_BEGINS = re.compile(r"^(\s*)([-+=](?![\w$])|\d+[.)](?=\s|$))")
#: Signs beside words, since Markdown has no colours.
_SIGNS = {"plain": "", "good": "✓ ", "warn": "⚠ ", "bad": "✗ "}


def markdown(document: Mapping[str, Any]) -> str:
    """The whole report, ending in a newline."""
    parts: list[str] = []
    for section in sections(document, suffix=".md"):
        parts += _first(section) if section.first else _folded(section)
    return "\n\n".join(part for part in parts if part) + "\n"


def _first(section: Section) -> list[str]:
    level = "#" if section.key == "summary" else "##"
    return [f"{level} {escaped(section.title)}", *_body(section)]


def _folded(section: Section) -> list[str]:
    """GitHub reads Markdown within ``details`` where an empty line stands around it."""
    chapter = [f"## {escaped(section.chapter)}"] if section.chapter else []
    teaser = f": {html_escape(section.teaser)}" if section.teaser else ""
    opened = f"<details>\n<summary>{html_escape(section.title)}{teaser}</summary>"
    return [*chapter, opened, *_body(section), "</details>"]


def _body(section: Section) -> list[str]:
    leading, *others = section.paragraphs or ("",)
    return [
        _bold(leading) if section.key == "recommendation" else escaped(leading),
        *map(escaped, others),
        _facts(section.facts),
        _bullets(section.lines),
        *(part for table in section.tables for part in (_caption(table), _table(table))),
        *(part for name, text in section.code for part in (f"{escaped(name)}:", _code(text))),
        *map(escaped, section.notes),
    ]


def _facts(facts: Iterable[Fact]) -> str:
    """A row a figure: what it is, the figure, what qualifies it."""
    rows = [
        f"| {escaped(fact.label)} | {_bold(_SIGNS[fact.tone] + fact.value)} | "
        f"{escaped(fact.detail)} |"
        for fact in facts
    ]
    return "\n".join(["| What | Figure | |", "| --- | --- | --- |", *rows]) if rows else ""


def _bullets(lines: Iterable[Line]) -> str:
    return "\n".join(f"- {_SIGNS[line.tone]}{escaped(line.text)}" for line in lines)


def _caption(table: Grid) -> str:
    return _bold(table.caption) if table.caption else ""


def _table(table: Grid) -> str:
    """A cell's lines are parted by a space: Markdown's tables hold one line a cell."""
    last = len(table.rows) - 1
    rules = ["---:" if at in table.right else "---" for at in range(len(table.headers))]
    rows = [_row(map(escaped, table.headers)), _row(rules)]
    for at, cells in enumerate(table.rows):
        strong = at in table.marked or (table.total and at == last)
        rows.append(_row(map(_bold if strong else escaped, map(one_line, cells))))
    return "\n".join(rows)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _bold(text: str) -> str:
    return f"**{escaped(text)}**" if text.strip() else ""


def _code(text: str) -> str:
    """A block whose fence is longer than any in the text."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def escaped(text: str) -> str:
    """Shown as it is: nothing in a user's string becomes markup, HTML or a table's border."""
    shown = _SPECIAL.sub(lambda hit: "\\" + hit[0], one_line(text))
    return _BEGINS.sub(lambda hit: _begun(hit[1], hit[2]), shown)


def _begun(space: str, begin: str) -> str:
    """``1.`` becomes ``1\\.``, ``-`` becomes ``\\-``."""
    return f"{space}{begin[:-1]}\\{begin[-1]}"


FORMATS = (Format("answer", ".md", markdown, order=10),)
