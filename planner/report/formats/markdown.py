"""The budget report as Markdown: every figure of the document, its assumptions and its sources."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from planner.report.formats.registry import Format
from planner.report.views import answer as answer_view
from planner.report.views import option as option_view
from planner.report.views import table as table_view

_SPECIAL = re.compile(r"([\\`*{}\[\]<>#|~!&$])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])")


def markdown(answer: Mapping[str, Any]) -> str:
    """The whole report, ending in a newline."""
    title, why = answer_view.recommendation(answer)
    parts = ["# Training budget", f"**Recommended: {escaped(title)}.** {escaped(why)}"]
    if answer_view.first_lines(answer):
        told = answer_view.first_lines(answer)
        parts.append(_bullets(f"Warning: {text}" if warns else text for text, warns in told))
    if answer_view.limits(answer):
        parts.append(_bullets(answer_view.limits(answer)))
    parts += [
        "## Options",
        _table(answer_view.comparison(answer)),
        "Ranges hold with 80 % probability (p10–p90).",
    ]
    if answer_view.break_even(answer):
        parts += ["## Break-even", _bullets(answer_view.break_even(answer))]
    parts += ["## What was understood", _pairs(answer_view.understood(answer))]
    parts += ["## What was asked", _pairs(answer_view.asked(answer))]
    parts += ["## Where the figures stand", _pairs(answer_view.standing(answer))]
    parts += ["## Training choices", _pairs(answer_view.choices(answer))]
    parts += [
        "## Assumptions",
        _bullets(answer_view.lines(answer, "assumptions")),
        "## Warnings",
        _bullets(answer_view.lines(answer, "warnings")),
    ]
    parts += ["## Sources", _table(answer_view.sources(answer))]
    for option in answer["options"]:
        parts += _option(option)
    return "\n\n".join(part for part in parts if part) + "\n"


def _option(option: Mapping[str, Any]) -> list[str]:
    parts = [
        f"## {escaped(option_view.name(option))} on {escaped(option_view.device(option))}"
        if option.get("gpu")
        else f"## {escaped(option_view.name(option))}"
    ]
    parts.append(_pairs(option_view.headline(option)))
    if option_view.peak(option):
        parts.append(f"Peak of memory: {escaped(option_view.peak(option))}.")
    if option_view.scratch(option):
        parts.append(
            f"What training from scratch really takes: {escaped(option_view.scratch(option))}."
        )
    if option_view.fixes(option):
        parts.append(
            _table(
                table_view.Table(("Change", "Memory", "Result"), tuple(option_view.fixes(option)))
            )
        )
    return parts + ["Every figure:", _pairs(option_view.every_figure(option))]


def _pairs(pairs: Iterable[tuple[str, str]]) -> str:
    return _bullets((f"{left}: {right}" for left, right in pairs))


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(line)}" for line in lines) or "None."


def _table(table: table_view.Table) -> str:
    """A cell's lines are parted by a space: Markdown's tables hold one line a cell."""
    rows = [table.headers, tuple("---" for _ in table.headers)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines += ["| " + " | ".join(escaped(cell) for cell in row) + " |" for row in table.rows]
    return "\n".join(lines) if table.rows else "None."


def escaped(text: str) -> str:
    """Shown as it is: nothing in a user's string becomes markup, HTML or a table's border."""
    return _SPECIAL.sub(lambda hit: "\\" + hit[0], table_view.one_line(text))


FORMATS = (Format("answer", ".md", markdown, order=10),)
