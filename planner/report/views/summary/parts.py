"""What a first screen is made of: paragraphs and tables, and what may be left out where a screen
is full."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from planner.choose.decisive import ASSUMED, Decisive, decisive, on_topic
from planner.errors import FieldName
from planner.report.views.summary.columns import Columns
from planner.report.words import clean

#: Lines of a screen, of which so many change a decision.
HEIGHT, DECISIVE = 40, 5
#: The smallest ``keep`` of what is only of help: below it all stays.
HELPS = 10


@dataclass(frozen=True)
class Paragraph:
    """``lead``: its first words, which stand out. ``style``: good, bad, warn or faint. ``keep``: 0
    stays on every screen, else those with the largest are left out first. ``counts``: of how many
    lines of the document it is, which are named when it is left out."""

    text: str
    lead: str = ""
    style: str = ""
    keep: int = 0
    counts: int = 0
    space_before: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; of one with ``keep`` as of a paragraph."""

    table: Columns
    title: str = ""
    keep: int = 0


Part = Paragraph | Grid


@dataclass(frozen=True)
class Screen:
    """``rest(n)``: the last line, where n lines of ``parts`` had no room."""

    parts: Sequence[Part]
    rest: Callable[[int], str]


def decisive_parts(
    document: Mapping[str, Any], chosen: Mapping[str, Any] | None
) -> tuple[list[Paragraph], list[Decisive]]:
    """(at most five lines that change a decision, all others). A warning of the input stays on the
    screen, what was assumed is left out first."""
    found = decisive(document, chosen)
    parts: list[Paragraph] = []
    for place, line in enumerate(found[:DECISIVE]):
        lead, style = ("!", "warn") if line.warning else ("-", "")
        keep = place + (HELPS if line.rank < ASSUMED else 4 * HELPS) if line.rank else 0
        parts.append(Paragraph(clean(line.text), lead, style, keep, counts=1))
    return parts, found[DECISIVE:]


def of_file(document: Mapping[str, Any]) -> list[Paragraph]:
    """What of the file that was asked with is not in the answer, which stands before every
    figure."""
    told = on_topic(document, "file")
    return [Paragraph(clean(text), "!", "warn", counts=1) for text, _ in told]


def rest_words(hidden: Sequence[Decisive], assumptions: int, more: str) -> Callable[[int], str]:
    """What the details hold beyond the screen."""

    def rest(dropped: int) -> str:
        warnings = sum(line.warning for line in hidden)
        notes = len(hidden) - warnings + dropped
        counted = [
            f"{number} {word}{'s' * (number != 1)}"
            for number, word in (
                (warnings, "warning"),
                (notes, "note"),
                (assumptions, "assumption"),
            )
            if number
        ]
        return f"{FieldName('details')}: {', '.join([*counted, more])}."

    return rest
