"""The software that a run is made with: a trainer, and the year whose versions it runs.

What each does by itself are rows of ``profiles/stacks/stacks.csv``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from planner import tables
from planner.errors import FieldName, QuestionError

#: What runs where nothing is said: Hugging Face's Trainer.
DEFAULT = "trainer"
#: Rows that hold for every trainer.
ANY = "any"


@dataclass(frozen=True)
class Stack:
    """``year`` None: the versions of today."""

    trainer: str
    year: int | None = None

    def number(self, key: str) -> float | None:
        """A row's value; None where no row of this trainer and year has one."""
        row = self._row(key)
        return None if row is None else tables.number(row["value"])

    def word(self, key: str) -> str | None:
        """A row's word; None as ``number``."""
        row = self._row(key)
        return None if row is None else row["word"] or None

    def source(self, key: str) -> str | None:
        row = self._row(key)
        return None if row is None else row["source"]

    @property
    def text(self) -> str:
        """``trainer of today``, ``trainer of 2022``."""
        return f"{self.trainer} of {self.year or 'today'}"

    def _row(self, key: str) -> dict[str, str] | None:
        return _row(self.trainer, self.year, key)


@cache
def _row(trainer: str, year: int | None, key: str) -> dict[str, str] | None:
    """The trainer's own row before that for any, then the latest that has begun."""
    found = [
        row
        for row in tables.rows("stacks", "stacks.csv")
        if row["key"] == key and row["trainer"] in (trainer, ANY) and _holds(row, year)
    ]
    rank = {ANY: 0, trainer: 1}
    return max(found, key=lambda row: (rank[row["trainer"]], row["since"] or "0"), default=None)


def _holds(row: dict[str, str], year: int | None) -> bool:
    if year is None:
        return not row["until"]
    return (not row["since"] or int(row["since"]) <= year) and (
        not row["until"] or year <= int(row["until"])
    )


@cache
def trainers() -> tuple[str, ...]:
    """Names that rows know, the default first."""
    names = (row["trainer"] for row in tables.rows("stacks", "stacks.csv"))
    return tuple(dict.fromkeys([DEFAULT, *(name for name in names if name != ANY)]))


def stack_of(text: str | None) -> Stack:
    """``trainer``, ``trainer-2022``, ``2022`` or nothing → Stack. Raises QuestionError."""
    name, year = _parts(text or DEFAULT)
    if name not in trainers():
        raise QuestionError(
            f"no stack {text!r}",
            where=FieldName("stack"),
            mend=f"One of {', '.join(trainers())}, with a year or without: {DEFAULT}-2022",
        )
    return Stack(name, year)


def _parts(text: str) -> tuple[str, int | None]:
    found = re.fullmatch(r"(?:([a-z_]+)-?)?(20\d\d)?", text.strip().lower())
    if found is None:
        return text, None
    return found[1] or DEFAULT, int(found[2]) if found[2] else None
