"""The parts of ``planner explain`` in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planner.report.views.answer import first_lines
from planner.report.views.explaining import changes, step
from planner.report.views.explaining.part import Part


def parts(document: Mapping[str, Any], *, brief: bool = False) -> list[Part]:
    """``brief``: the trees and the changes alone."""
    told = first_lines(document)
    shown = [
        step.asked(document),
        Part("", tuple(text for text, warns in told if warns), warns=True),
        step.time_tree(document),
        step.memory_tree(document),
        changes.changes(document),
    ]
    if not brief:
        shown += [
            changes.left_out(document),
            step.by_phase(document),
            step.by_kind(document),
            step.by_category(document),
            Part("How the question was understood", tuple(t for t, warns in told if not warns)),
            changes.notes(document),
        ]
    return [part for part in shown if part.lines or (part.table and part.table.rows)]
