"""Titled parts of a page, for a terminal of any width, Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from planner.report.views.table import Table


@dataclass(frozen=True)
class Part:
    """``right``: columns of figures. ``drop``: columns that may be left out where there is no room,
    the first to go first; ``whole``: cells that are typed, never broken. ``warns``: lines that
    change a decision."""

    title: str
    lines: tuple[str, ...] = ()
    table: Table | None = None
    right: tuple[int, ...] = ()
    drop: tuple[int, ...] = ()
    whole: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    warns: bool = False


def aligned(cells: Sequence[str]) -> list[str]:
    """Numbers with their decimal points below each other; at the right what is none."""
    after = [len(cell) - cell.find(".") if "." in cell else 0 for cell in cells]
    most = max(after, default=0)
    return [
        cell + " " * (most - own) if any(c.isdecimal() for c in cell) else cell
        for cell, own in zip(cells, after)
    ]
