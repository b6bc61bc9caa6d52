"""The whole report in its order, the same for HTML, Markdown, PDF and DOCX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.budget import first_page, ground, money, run
from planner.report.views.budget.first_page import title
from planner.report.views.budget.part import Section

__all__ = ["sections", "title"]


def sections(document: Mapping[str, Any], *, every_figure: bool = True) -> tuple[Section, ...]:
    """Of a document with its budget, or of an answer alone, which says less. Sections without
    anything in them are left out. ``every_figure``: with the whole document of each option at the
    end."""
    budgeted = document.get("budget") is not None
    found = [
        first_page.summary(document),
        first_page.recommendation(document),
        first_page.strategies(document),
        *(money.sections(document)[:2] if budgeted else []),
        run.memory(document),
        run.time(document),
        *(money.sections(document)[2:] if budgeted else []),
        *([run.stages(document)] if budgeted else []),
        run.enough(document),
        run.energy(document),
        *([run.accuracy(document)] if budgeted else []),
        ground.notes(document),
        ground.assumptions(document),
        ground.sources(document),
        ground.question(document),
        *(ground.every_option(document) if every_figure else []),
        *([ground.reproduce(document), ground.glossary(document)] if budgeted else []),
    ]
    return tuple(section for section in found if section.holds())
