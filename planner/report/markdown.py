"""The budget report as Markdown: every figure of the document, its assumptions and its sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from planner.report import view

_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~!&$])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])")


def markdown(answer: Mapping[str, Any]) -> str:
    """The whole report, ending in a newline."""
    title, why = view.recommendation(answer)
    parts = ["# Training budget", f"**Recommended: {_escape(title)}.** {_escape(why)}"]
    if view.limits(answer):
        parts.append(_bullets(view.limits(answer)))
    parts += ["## Options", _table(view.comparison(answer)), "Ranges hold with 80 % probability (p10–p90)."]
    if view.break_even(answer):
        parts += ["## Break-even", _bullets(view.break_even(answer))]
    parts += ["## What was understood", _pairs(view.understood(answer))]
    parts += ["## What was asked", _pairs(view.asked(answer))]
    parts += ["## Where the figures stand", _pairs(view.standing(answer))]
    parts += ["## Training choices", _pairs(view.choices(answer))]
    parts += ["## Assumptions", _bullets(view.lines(answer, "assumptions")), "## Warnings", _bullets(view.lines(answer, "warnings"))]
    parts += ["## Sources", _table(view.sources(answer))]
    for option in answer["options"]:
        parts += _option(option)
    return "\n\n".join(part for part in parts if part) + "\n"


def _option(option: Mapping[str, Any]) -> list[str]:
    parts = [f"## {_escape(view.name(option))} on {_escape(view.device(option))}" if option.get("gpu") else f"## {_escape(view.name(option))}"]
    parts.append(_pairs(view.headline(option)))
    if view.peak(option):
        parts.append(f"Peak of memory: {_escape(view.peak(option))}.")
    if view.scratch(option):
        parts.append(f"What training from scratch really takes: {_escape(view.scratch(option))}.")
    if view.fixes(option):
        parts.append(_table(view.Table(("Change", "Memory", "Result"), tuple(view.fixes(option)))))
    return parts + ["Every figure:", _pairs(view.every_figure(option))]


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return _bullets((f"{left}: {right}" for left, right in pairs))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_escape(line)}" for line in lines) or "None."


def _table(table: view.Table) -> str:
    """A cell's lines are parted by a space: Markdown's tables hold one line a cell."""
    rows = [table.headers, tuple("---" for _ in table.headers)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["| " + " | ".join(_escape(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join(lines) if table.rows else "None."


def _escape(text: str) -> str:
    """Shown as it is: nothing in a user's string becomes markup, HTML or a table's border."""
    return _SPECIAL.sub(lambda hit: "\\" + hit[0], view.one_line(text))
