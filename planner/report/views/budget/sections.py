"""The whole report in its order, the same for HTML, Markdown, PDF and DOCX."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from planner.report.views.budget import first_page, ground, money, run
from planner.report.views.budget.first_page import title
from planner.report.views.budget.part import Section

__all__ = ["sections", "title"]


def sections(
    document: Mapping[str, Any], *, every_figure: bool = True, suffix: str = ".html"
) -> tuple[Section, ...]:
    """Of a document with its budget, or of an answer alone, which says less. Sections without
    anything in them are left out. ``every_figure``: with the whole question and
    the whole document of each option at the end. ``suffix``: of the file that is made, which its
    own command names."""
    budgeted = document.get("budget") is not None
    first = [first_page.summary, first_page.recommendation, first_page.strategies]
    chapters = {
        "": [make(document) for make in first],
        "Money": money.sections(document) if budgeted else [],
        "The run": [run.memory(document), run.time(document), run.energy(document)],
        "The way": [*([run.stages(document)] if budgeted else []), run.enough(document)],
        "Behind the figures": _behind(document, budgeted, suffix),
        "In full": _in_full(document) if every_figure else [],
    }
    found = (_chapter(title, parts) for title, parts in chapters.items())
    return tuple(section for chapter in found for section in chapter)


def _behind(document: Mapping[str, Any], budgeted: bool, suffix: str) -> list[Section]:
    return [
        *([run.accuracy(document)] if budgeted else []),
        ground.notes(document),
        ground.assumptions(document),
        ground.sources(document),
        *([ground.glossary(document), ground.reproduce(document, suffix)] if budgeted else []),
    ]


def _in_full(document: Mapping[str, Any]) -> list[Section]:
    parts = [ground.question(document), *ground.every_option(document)]
    return [replace(part, appendix=True) for part in parts]


def _chapter(title: str, parts: list[Section]) -> list[Section]:
    """Those that hold anything, the first of them under the chapter's title."""
    held = [part for part in parts if part.holds()]
    return [replace(held[0], chapter=title), *held[1:]] if held else []
