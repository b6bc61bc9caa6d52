"""What a section of a budget is made of. Texts are cleaned of control characters and otherwise as
they are: each format escapes them for itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: How a figure or a line is to be taken; formats set it in colour and in words or signs.
Tone = Literal["plain", "good", "warn", "bad"]
#: A cell without a value.
NONE = "–"


@dataclass(frozen=True)
class Fact:
    """A figure of the first screen: ``label``, the ``value`` large, ``detail`` small below it.
    ``lead``: what the report is about, the first of them largest."""

    label: str
    value: str
    detail: str = ""
    tone: Tone = "plain"
    lead: bool = False


@dataclass(frozen=True)
class Grid:
    """A table. A cell may hold a second line, which qualifies the first. ``right``: columns of
    figures, set to the right; ``marked``: rows that are recommended; ``total``: the last row is the
    sum of those above it. ``caption`` is empty where the section's title says it."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    right: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()
    total: bool = False


@dataclass(frozen=True)
class Line:
    """A sentence in a list."""

    text: str
    tone: Tone = "plain"


@dataclass(frozen=True)
class Section:
    """A titled part of the report, shown in this order: ``facts``, ``paragraphs``, ``lines`` (a
    list), ``charts`` (keys of ``planner/report/charts/registry.py``; those with nothing to draw are
    left out), ``tables``, ``code`` (shown as it is typed), ``notes`` (small print).

    ``teaser``: its main figure in a few words, shown beside the title of a folded section.
    ``chapter``: a heading above it, where a chapter begins. ``first``: belongs on the first page.
    ``folded``: closed at first, where a format can fold. ``appendix``: left out on paper.
    """

    key: str
    title: str
    facts: tuple[Fact, ...] = ()
    paragraphs: tuple[str, ...] = ()
    lines: tuple[Line, ...] = ()
    charts: tuple[str, ...] = ()
    tables: tuple[Grid, ...] = ()
    code: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    teaser: str = ""
    chapter: str = ""
    first: bool = False
    folded: bool = True
    appendix: bool = False

    def holds(self) -> bool:
        """Is there anything in it, charts aside?"""
        return any((self.facts, self.paragraphs, self.lines, self.tables, self.code))
