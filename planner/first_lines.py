"""What stands in the first lines of every answer: how the question was understood, and what of it
was left out, assumed or not understood."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: In the order in which they are shown; what is no part of an answer yet has its place.
TOPICS = (
    "file",
    "model",
    "task",
    "data",
    "left_out",
    "run",
    "recipe",
    "stack",
    "device",
    "cost",
    "limit",
)


@dataclass(frozen=True, slots=True)
class FirstLine:
    """One sentence. ``topic``: what it is about, of TOPICS. ``warning``: the user should act on it,
    such as a column that holds a third of the text and is not counted."""

    topic: str
    text: str
    warning: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {"topic": self.topic, "text": self.text, "warning": self.warning}


def ordered(lines: Iterable[FirstLine]) -> list[FirstLine]:
    """Warnings first, then by topic; each line once."""
    unique = dict.fromkeys(lines)
    return sorted(unique, key=lambda line: (not line.warning, TOPICS.index(line.topic)))
